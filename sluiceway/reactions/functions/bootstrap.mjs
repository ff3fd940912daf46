// The Node.js runtime: loads the handler and asks the Lambda Runtime API for invocations, one at a time.
// (AWS Lambda Developer Guide, "Building a custom runtime" and "Define Lambda function handler in Node.js".)
import http from "node:http";
import path from "node:path";
import { createRequire } from "node:module";
import { existsSync } from "node:fs";
import { pathToFileURL } from "node:url";
import util from "node:util";

const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const BASE = "/2018-06-01/runtime/";

function call(method, target, body, headers = {}) {
  return new Promise((resolve, reject) => {
    const request = http.request({ host, port, agent, method, path: BASE + target, headers }, (response) => {
      const parts = [];
      response.on("data", (part) => parts.push(part));
      response.on("end", () => resolve({ headers: response.headers, body: Buffer.concat(parts).toString("utf8") }));
      response.on("error", reject);
    });
    request.on("error", reject);
    request.end(body);
  });
}

function document(error) {
  if (error instanceof Error || util.types.isNativeError(error)) {
    return { errorType: error.name || "Error", errorMessage: error.message, trace: (error.stack || "").split("\n") };
  }
  return { errorType: typeof error, errorMessage: String(error), trace: [] };
}

async function load(handler) {
  const root = process.env.LAMBDA_TASK_ROOT;
  const folder = path.dirname(handler);
  const [name, ...rest] = path.basename(handler).split(".");
  if (!rest.length) throw Object.assign(new Error(`Bad handler ${handler}`), { name: "Runtime.MalformedHandlerName" });
  const base = path.join(root, folder, name);
  const file = [".js", ".mjs", ".cjs", ""].map((end) => base + end).find((one) => existsSync(one));
  if (!file) throw Object.assign(new Error(`Cannot find module '${name}'`), { name: "Runtime.ImportModuleError" });
  let module;
  try {
    module = await import(pathToFileURL(file).href);
  } catch (error) {
    if (!/require\(\) of ES Module|Cannot use import statement/.test(String(error))) throw error;
    module = createRequire(pathToFileURL(root + "/"))(file);
  }
  const find = (from) => rest.reduce((value, key) => (value == null ? value : value[key]), from);
  const found = find(module) ?? find(module.default);
  if (typeof found !== "function") {
    throw Object.assign(new Error(`${handler} is undefined or not exported`), { name: "Runtime.HandlerNotFound" });
  }
  return found;
}

function contextOf(headers) {
  const deadline = Number(headers["lambda-runtime-deadline-ms"]);
  const context = {
    callbackWaitsForEmptyEventLoop: true,
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
    memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
    invokedFunctionArn: headers["lambda-runtime-invoked-function-arn"],
    awsRequestId: headers["lambda-runtime-aws-request-id"],
    getRemainingTimeInMillis: () => Math.max(0, deadline - Date.now()),
  };
  if (headers["lambda-runtime-client-context"]) {
    context.clientContext = JSON.parse(headers["lambda-runtime-client-context"]);
  }
  return context;
}

function run(handler, event, context) {
  return new Promise((resolve, reject) => {
    const callback = (error, result) => (error != null ? reject(error) : resolve(result));
    context.done = callback;
    context.succeed = resolve;
    context.fail = reject;
    const result = handler(event, context, callback);
    if (result && typeof result.then === "function") result.then(resolve, reject);
    else if (result !== undefined || handler.length < 3) resolve(result);
  });
}

async function main() {
  let handler;
  try {
    handler = await load(process.env._HANDLER);
  } catch (error) {
    console.error(error);
    await call("POST", "init/error", JSON.stringify(document(error)));
    process.exit(1);
  }
  for (;;) {
    const next = await call("GET", "invocation/next");
    const id = next.headers["lambda-runtime-aws-request-id"];
    if (next.headers["lambda-runtime-trace-id"]) process.env._X_AMZN_TRACE_ID = next.headers["lambda-runtime-trace-id"];
    let target = "response";
    let body;
    try {
      const result = await run(handler, JSON.parse(next.body), contextOf(next.headers));
      body = JSON.stringify(result === undefined ? null : result);
    } catch (error) {
      console.error(error);
      target = "error";
      body = JSON.stringify(document(error));
    }
    await call("POST", `invocation/${id}/${target}`, body, { "content-type": "application/json" });
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
