// Loaded in a Node.js worker before the handler: AWS's host names lead to this server, for code that hard-wires
// them (SDKs read AWS_ENDPOINT_URL). SLUICEWAY_HOSTS is "HTTP port,HTTPS port".
"use strict";
const net = require("node:net");

const [plain, secure] = (process.env.SLUICEWAY_HOSTS || "").split(",").map(Number);
const ports = { 80: plain, 443: secure };
const connect = net.Socket.prototype.connect;

function ours(host) {
  return typeof host === "string" && /\.(amazonaws\.com|api\.aws)\.?$/i.test(host);
}

net.Socket.prototype.connect = function (...args) {
  const first = Array.isArray(args[0]) ? args[0][0] : args[0];
  if (first && typeof first === "object" && ours(first.host) && ports[first.port]) {
    first.servername = first.servername || first.host;
    first.port = ports[first.port];
    first.host = "127.0.0.1";
  }
  return connect.apply(this, args);
};
