// Sign in, upload straight to the bucket, and see pictures appear. No library.
const config = JSON.parse(document.body.dataset.config);
const home = location.origin + location.pathname;
const kept = sessionStorage;
const $ = (id) => document.getElementById(id);

// --- signing in: OpenID Connect, authorization code with PKCE (RFC 7636)

const base64url = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));

async function provider() {
  const answer = await fetch(`${config.issuer}/.well-known/openid-configuration`);
  if (!answer.ok) throw new Error("The sign-in service does not answer.");
  return answer.json();
}

async function signIn() {
  const verifier = random();
  const state = random();
  kept.setItem("verifier", verifier);
  kept.setItem("state", state);
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
  const query = new URLSearchParams({
    response_type: "code", client_id: config.client_id, redirect_uri: home, scope: "openid profile",
    state, code_challenge: base64url(digest), code_challenge_method: "S256",
  });
  location.assign(`${(await provider()).authorization_endpoint}?${query}`);
}

async function finishSignIn(query) {
  history.replaceState(null, "", home);
  if (query.get("state") !== kept.getItem("state")) throw new Error("The sign-in was not begun here. Try again.");
  const body = new URLSearchParams({
    grant_type: "authorization_code", code: query.get("code"), redirect_uri: home,
    client_id: config.client_id, code_verifier: kept.getItem("verifier"),
  });
  const answer = await fetch((await provider()).token_endpoint, { method: "POST", body });
  if (!answer.ok) throw new Error("The sign-in did not succeed. Try again.");
  const tokens = await answer.json();
  kept.clear();
  kept.setItem("token", tokens.access_token);
}

function signOut() {
  kept.clear();
  location.assign(home);
}

// --- the API

async function api(method, path, body) {
  const headers = { authorization: `Bearer ${kept.getItem("token")}` };
  if (body) headers["content-type"] = "application/json";
  const answer = await fetch(home + path, { method, headers, body: body && JSON.stringify(body) });
  if (answer.status === 401) {
    kept.clear();
    throw new Error("You are signed out. Sign in again.");
  }
  const document = await answer.json();
  if (!answer.ok) throw new Error(document.message || `The server answered ${answer.status}.`);
  return document;
}

function problem(error) {
  $("problem").textContent = error.message;
  $("problem").hidden = false;
}

const guarded = (work) => (...given) => Promise.resolve(work(...given)).catch(problem);

// --- pictures

const sizes = ["bytes", "KB", "MB", "GB", "TB"];
function size(bytes) {
  let step = 0;
  while (bytes >= 1000 && step < sizes.length - 1) { bytes /= 1000; step += 1; }
  return `${step && bytes < 10 ? bytes.toFixed(1) : Math.round(bytes)} ${sizes[step]}`;
}

function card(photo) {
  const item = document.createElement("li");
  item.id = `photo-${photo.id}`;
  const picture = document.createElement("div");
  picture.className = "picture";
  if (photo.thumbnail) {
    const image = new Image();
    image.src = photo.thumbnail;
    image.alt = photo.name;
    image.loading = "lazy";
    picture.append(image);
  } else {
    picture.textContent = "no preview";
  }
  const text = document.createElement("div");
  const name = document.createElement("b");
  name.textContent = name.title = photo.name;
  text.append(name, `${size(photo.bytes)} · ${new Date(photo.at).toLocaleString()}`);
  item.append(picture, text);
  return item;
}

async function show() {
  const words = $("words").value.trim();
  const { photos } = await api("GET", words ? `photos?q=${encodeURIComponent(words)}` : "photos");
  if (words !== $("words").value.trim()) return;
  $("photos").replaceChildren(...photos.map(card));
  $("empty").hidden = photos.length > 0;
  $("empty").textContent = words ? "Nothing matches." : "Nothing here yet.";
}

async function count() {
  const { uploads, bytes } = await api("GET", "counts");
  $("count").textContent = `${uploads} uploads, ${size(bytes)}`;
}

// The counter follows the data stream, a moment behind the rows: look again until it has caught up.
let counting = [];
function countSoon() {
  counting.forEach(clearTimeout);
  counting = [0, 1000, 3000, 8000, 20000].map((wait) => setTimeout(guarded(count), wait));
}

async function ready(id) {
  note(id, "ready");
  const photo = await api("GET", `photos/${id}`);
  if (!$("words").value.trim()) {
    $(`photo-${id}`)?.remove();
    const item = card(photo);
    item.classList.add("new");
    $("photos").prepend(item);
    $("empty").hidden = true;
  }
  countSoon();
}

// --- uploads: the file goes from here to the bucket, with progress

function note(id, text) {
  const place = document.querySelector(`#uploads [data-id="${CSS.escape(id)}"] span:last-of-type`);
  if (place) place.textContent = text;
}

function put(url, file, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.upload.onprogress = (event) => { progress.max = event.total; progress.value = event.loaded; };
    request.onload = () => (request.status === 200 ? resolve() : reject(new Error(`The bucket answered ${request.status}.`)));
    request.onerror = () => reject(new Error("The upload was interrupted."));
    request.open("PUT", url);
    request.setRequestHeader("content-type", file.type || "application/octet-stream");
    request.send(file);
  });
}

async function upload(file) {
  const row = document.createElement("li");
  const name = document.createElement("span");
  const state = document.createElement("span");
  const progress = document.createElement("progress");
  name.textContent = file.name;
  state.textContent = "asking";
  row.append(name, state, progress);
  $("uploads").prepend(row);
  try {
    const asked = await api("POST", "uploads", { name: file.name, type: file.type || "application/octet-stream" });
    row.dataset.id = asked.id;
    state.textContent = "uploading";
    await put(asked.url, file, progress);
    progress.remove();
    if (state.textContent === "uploading") state.textContent = "stored";
  } catch (error) {
    state.textContent = error.message;
    progress.remove();
  }
}

// --- live: everybody is told

let wait = 500;
async function listen() {
  const { ticket } = await api("POST", "tickets");
  const socket = new WebSocket(`${config.socket_url}?ticket=${encodeURIComponent(ticket)}`);
  socket.onopen = () => { wait = 500; $("live").textContent = "live"; $("live").classList.add("on"); };
  socket.onmessage = guarded((event) => {
    const news = JSON.parse(event.data);
    if (news.type === "uploaded") return note(news.id, "received");
    return news.type === "ready" ? ready(news.id) : undefined;
  });
  socket.onclose = () => {
    $("live").textContent = "offline";
    $("live").classList.remove("on");
    setTimeout(guarded(async () => { await listen(); await show(); }), wait);
    wait = Math.min(wait * 2, 15000);
  };
}

// --- the page

async function main() {
  const query = new URLSearchParams(location.search);
  if (query.has("code")) await finishSignIn(query);
  const signedIn = Boolean(kept.getItem("token"));
  $("sign").textContent = signedIn ? "Sign out" : "Sign in";
  $("sign").hidden = false;
  $("sign").onclick = guarded(signedIn ? signOut : signIn);
  $("welcome").hidden = signedIn;
  $("work").hidden = !signedIn;
  if (!signedIn) return;
  const drop = $("drop");
  drop.ondragover = (event) => { event.preventDefault(); drop.classList.add("over"); };
  drop.ondragleave = () => drop.classList.remove("over");
  drop.ondrop = (event) => { event.preventDefault(); drop.classList.remove("over"); [...event.dataTransfer.files].forEach(upload); };
  $("files").onchange = () => { [...$("files").files].forEach(upload); $("files").value = ""; };
  let typing;
  $("words").oninput = () => { clearTimeout(typing); typing = setTimeout(guarded(show), 200); };
  $("find").onsubmit = (event) => { event.preventDefault(); guarded(show)(); };
  await Promise.all([show(), count(), listen()]);
}

guarded(main)();
