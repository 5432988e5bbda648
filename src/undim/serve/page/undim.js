// The page: pictures come in, go to the service and back, and are looked at. Nothing is stored anywhere.

import { View } from "./view.js";
import { Zip } from "./zip.js";

const AT_ONCE = 2; // requests
const SIDE = 2048; // pixels of a preview
const FULL = 64e6; // pixels up to which a picture is looked at in full size
const SHOWN = ["image/jpeg", "image/png", "image/webp", "image/avif", "image/bmp"]; // what a browser can show
const SUFFIX = { "image/jpeg": "jpg", "image/png": "png", "image/webp": "webp", "image/avif": "avif", "image/tiff": "tif", "image/bmp": "bmp" };
const LOCAL = ["localhost", "127.0.0.1", "[::1]"];

const $ = (id) => document.getElementById(id);
const pictures = [];
let now = null;
let models = null;
let token = "";
let running = 0;
let look = 0; // counts what is shown, so that what comes late is not

const view = new View($("canvas"), toldSplit, sharpen);

// ---- pictures

class Picture {
  strength = 1;
  exposure = 0;
  state = "waiting";
  error = "";
  notes = [];
  results = new Map(); // settings -> blob as the service gave it
  preview = null; // blob of the result that a browser can show
  original = null; // blob of the input that a browser can show
  request = null;

  constructor(file) {
    this.file = file;
    this.name = file.name || `picture.${SUFFIX[file.type] ?? "png"}`;
    this.model = $("model").value;
    this.item = makeItem(this);
  }

  get key() { return [this.model, this.strength, this.exposure].join(" "); }
}

function add(files) {
  const fresh = [...files].map((file) => new Picture(file));
  if (!fresh.length) return;
  pictures.push(...fresh);
  document.body.classList.add("busy");
  $("work").hidden = $("list").hidden = false;
  for (const picture of fresh) {
    $("pictures").append(picture.item.root);
    jobs.push(() => thumb(picture, picture.file));
  }
  if (!now) choose(fresh[0]);
  for (const picture of fresh) jobs.push(() => enhance(picture));
  count();
  work();
}

function remove(picture) {
  picture.request?.abort();
  picture.state = "removed";
  const at = pictures.indexOf(picture);
  pictures.splice(at, 1);
  picture.item.root.remove();
  count();
  if (now === picture) {
    const next = pictures[Math.min(at, pictures.length - 1)];
    if (next) {
      choose(next);
      next.item.pick.focus();
    } else {
      now = null;
      document.body.classList.remove("busy");
      $("work").hidden = $("list").hidden = true;
      $("files").focus();
    }
  }
}

function count() {
  const done = pictures.filter((one) => one.state === "done").length;
  const failed = pictures.filter((one) => one.state === "failed").length;
  $("count").textContent = `${done} of ${pictures.length} done${failed ? `, ${failed} failed` : ""}`;
  $("save-all").hidden = $("same").hidden = pictures.length < 2;
  $("save-all").disabled = !done;
}

// ---- work, a few at once

const jobs = [];

function work() {
  while (running < AT_ONCE && jobs.length) {
    running += 1;
    jobs.shift()().catch(() => {}).finally(() => {
      running -= 1;
      work();
    });
  }
}

async function enhance(picture) {
  if (picture.state === "removed") return;
  const model = picture.model;
  try {
    mark(picture, "working");
    const shown = await visible(picture);
    const result = await ask(picture, { model });
    picture.notes = result.notes;
    picture.results.set([model, 1, 0].join(" "), result.blob);
    picture.preview = SHOWN.includes(result.blob.type)
      ? result.blob
      : (await ask(picture, { model, format: "png" })).blob;
    if (picture.model !== model || picture.state === "removed") return;
    mark(picture, "done");
    await thumb(picture, picture.preview);
    if (now === picture) await show(picture, true);
    void shown;
  } catch (error) {
    if (error.name === "AbortError" || picture.state === "removed" || picture.model !== model) return;
    picture.error = error.message;
    mark(picture, "failed");
  }
}

// The input as something that a browser can show: itself, or what the service makes of it.
async function visible(picture) {
  if (picture.original) return picture.original;
  try {
    (await createImageBitmap(picture.file, { resizeWidth: 16, resizeHeight: 16 })).close();
    picture.original = picture.file;
  } catch {
    picture.original = (await ask(picture, { strength: 0, format: "png" })).blob;
    await thumb(picture, picture.original);
  }
  if (now === picture && !picture.preview) await show(picture);
  return picture.original;
}

async function ask(picture, options) {
  for (;;) {
    const answer = await send(picture, options);
    if (answer.status === 200) {
      return { blob: answer.response, notes: JSON.parse(answer.getResponseHeader("Undim-Notes") || "[]") };
    }
    if (answer.status === 401) {
      await askToken();
      continue;
    }
    if (answer.status === 429) {
      mark(picture, "working", "waits for the service");
      await new Promise((go) => setTimeout(go, 1000 * (Number(answer.getResponseHeader("Retry-After")) || 2)));
      if (picture.state === "removed") throw new DOMException("removed", "AbortError");
      continue;
    }
    throw new Error(await reason(answer));
  }
}

async function reason(answer) {
  if (!answer.status) return "The service does not answer. Is it still running?";
  try {
    const problem = JSON.parse(await answer.response.text());
    return problem.detail || problem.title;
  } catch {
    return `The service answered ${answer.status} ${answer.statusText}.`;
  }
}

function send(picture, options) {
  return new Promise((resolve, reject) => {
    const query = new URLSearchParams(Object.entries(options).filter(([, value]) => value !== undefined && value !== ""));
    const request = new XMLHttpRequest();
    const form = new FormData();
    form.append("file", picture.file, picture.name);
    request.open("POST", `v1/enhance?${query}`);
    if (token) request.setRequestHeader("Authorization", `Bearer ${token}`);
    request.responseType = "blob";
    request.upload.onprogress = ({ loaded, total }) => progress(picture, loaded / total);
    request.upload.onload = () => progress(picture, null);
    request.onload = request.onerror = () => resolve(request);
    request.onabort = () => reject(new DOMException("removed", "AbortError"));
    picture.request = request;
    request.send(form);
  });
}

let asking = null;

function askToken() {
  asking ??= new Promise((resolve) => {
    $("token").value = "";
    $("ask").onclose = () => {
      token = $("token").value;
      asking = null;
      resolve();
    };
    $("ask").showModal();
  });
  return asking;
}

// ---- what stands beside each picture

function makeItem(picture) {
  const root = document.createElement("li");
  const pick = Object.assign(document.createElement("button"), { type: "button", className: "pick" });
  const canvas = Object.assign(document.createElement("canvas"), { width: 240, height: 180 });
  const name = Object.assign(document.createElement("b"), { textContent: picture.name, dir: "auto" });
  const say = Object.assign(document.createElement("p"), { className: "say", textContent: "waiting" });
  const bar = Object.assign(document.createElement("progress"), { max: 1, value: 0 });
  const x = Object.assign(document.createElement("button"), { type: "button", className: "x", textContent: "\u00d7" });
  const again = Object.assign(document.createElement("button"), { type: "button", className: "again", textContent: "Try again", hidden: true });
  bar.setAttribute("aria-label", `Progress of ${picture.name}`);
  canvas.setAttribute("aria-hidden", "true");
  x.setAttribute("aria-label", `Remove ${picture.name}`);
  again.setAttribute("aria-label", `Try ${picture.name} again`);
  pick.append(canvas, name);
  root.append(pick, bar, say, again, x);
  pick.onclick = () => choose(picture);
  x.onclick = () => remove(picture);
  again.onclick = () => {
    mark(picture, "waiting");
    jobs.push(() => enhance(picture));
    work();
  };
  return { root, pick, canvas, say, bar, again };
}

function mark(picture, state, words) {
  if (picture.state === "removed") return;
  picture.state = state;
  const { say, bar, again } = picture.item;
  say.textContent = state === "failed" ? picture.error : words ?? { waiting: "waiting", working: "in work", done: "done" }[state];
  say.classList.toggle("bad", state === "failed");
  again.hidden = state !== "failed";
  bar.hidden = state === "done" || state === "failed";
  if (state === "working") bar.removeAttribute("value");
  count();
  if (now === picture) tell();
}

function progress(picture, share) {
  const { bar, say } = picture.item;
  if (share === null) bar.removeAttribute("value");
  else bar.value = share;
  say.textContent = share === null ? "in work" : `sending, ${Math.round(100 * share)} %`;
}

async function thumb(picture, blob) {
  if (picture.state === "removed") return;
  try {
    const bitmap = await createImageBitmap(blob, { resizeWidth: 320, resizeQuality: "medium" });
    const { canvas } = picture.item;
    const scale = Math.max(canvas.width / bitmap.width, canvas.height / bitmap.height);
    const [width, height] = [bitmap.width * scale, bitmap.height * scale];
    canvas.getContext("2d").drawImage(bitmap, (canvas.width - width) / 2, (canvas.height - height) / 2, width, height);
    bitmap.close();
  } catch { /* a kind that the browser cannot show: the service makes one that it can */ }
}

// ---- the one that is looked at

let bitmaps = [];
let sharp = false;

async function choose(picture) {
  now = picture;
  for (const one of pictures) {
    one.item.root.classList.toggle("now", one === picture);
    one.item.pick.setAttribute("aria-pressed", String(one === picture));
  }
  $("name").textContent = picture.name;
  $("strength").value = 100 * picture.strength;
  $("exposure").value = picture.exposure;
  $("model").value = picture.model;
  tone();
  tell();
  await show(picture);
}

// Load both sides, or the one that is there.
async function show(picture, same = false, full = false) {
  const mine = (look += 1);
  const loaded = [];
  for (const blob of [picture.original ?? picture.file, picture.preview]) {
    loaded.push(blob ? await load(blob, full).catch(() => null) : null);
    if (mine !== look) {
      for (const bitmap of loaded) bitmap?.close();
      return;
    }
  }
  const old = bitmaps;
  bitmaps = loaded;
  sharp = full;
  view.show(loaded[0], loaded[1], same || full);
  for (const bitmap of old) bitmap?.close();
  $("canvas").dataset.sides = loaded.map((bitmap) => (bitmap ? `${bitmap.width}x${bitmap.height}` : "")).join(" ");
}

async function load(blob, full) {
  const whole = await createImageBitmap(blob);
  const scale = SIDE / Math.max(whole.width, whole.height);
  if (scale >= 1 || (full && whole.width * whole.height <= FULL)) return whole;
  const small = await createImageBitmap(whole, {
    resizeWidth: Math.round(whole.width * scale), resizeHeight: Math.round(whole.height * scale), resizeQuality: "high",
  });
  whole.close();
  return small;
}

// Full size where the reduced one would be seen to be that.
function sharpen() {
  if (!sharp && now?.preview && bitmaps[0] && view.scale(bitmaps[0].width) > 1.2 && Math.max(bitmaps[0].width, bitmaps[0].height) >= SIDE) {
    sharp = true;
    show(now, true, true);
  }
}

function tell() {
  const { state, error, notes } = now;
  $("told").textContent = state === "failed" ? error : state === "done" ? notes.join("; ") : "";
  $("told").classList.toggle("bad", state === "failed");
  $("save").disabled = state !== "done";
  $("veil").hidden = state === "done";
  $("veil").textContent = { waiting: "Waiting\u2026", working: "Brightening\u2026", failed: "This one could not be done." }[state] ?? "";
}

function tone() {
  const [strength, exposure] = [Number($("strength").value) / 100, Number($("exposure").value)];
  $("strength-out").textContent = `${Math.round(100 * strength)} %`;
  $("exposure-out").textContent = exposure ? `${exposure > 0 ? "+" : "\u2212"}${Math.abs(exposure).toFixed(2)}` : "0";
  $("exposure").setAttribute("aria-valuetext", `${exposure} stops`);
  if (now) [now.strength, now.exposure] = [strength, exposure];
  view.set(strength, exposure);
}

function toldSplit(share) {
  const split = $("split");
  const percent = Math.round(100 * share);
  split.style.left = `${100 * share}%`;
  split.setAttribute("aria-valuenow", percent);
  split.setAttribute("aria-valuetext", `${percent} percent before`);
}

// ---- taking pictures home

function outputName(picture, blob) {
  const suffix = SUFFIX[blob.type] ?? "png";
  const [, stem, own] = /^(.*?)(?:\.([^.]*))?$/s.exec(picture.name);
  const same = { jpg: ["jpg", "jpeg", "jpe", "jfif"], tif: ["tif", "tiff"] }[suffix] ?? [suffix];
  return own !== undefined && stem && same.includes(own.toLowerCase()) ? picture.name : `${stem || picture.name}.${suffix}`;
}

// The file with the present numbers, as the command line would write it.
async function finished(picture) {
  const { key, model, strength, exposure } = picture;
  if (!picture.results.has(key)) {
    const { blob } = await ask(picture, { model, strength, exposure });
    for (const old of [...picture.results.keys()].slice(1)) picture.results.delete(old);
    picture.results.set(key, blob);
    if (picture.state === "working") mark(picture, "done");
  }
  return picture.results.get(key);
}

function hand(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

async function save(picture) {
  const button = $("save");
  button.disabled = true;
  try {
    const blob = await finished(picture);
    hand(blob, outputName(picture, blob));
  } catch (error) {
    if (now === picture) {
      $("told").textContent = error.message;
      $("told").classList.add("bad");
    }
  }
  button.disabled = now?.state !== "done";
}

async function saveAll() {
  const button = $("save-all");
  button.disabled = true;
  const zip = new Zip();
  const ready = pictures.filter((one) => one.state === "done");
  let told = "";
  for (const [at, picture] of ready.entries()) {
    button.textContent = `Packing ${at + 1} of ${ready.length}\u2026`;
    try {
      const blob = await finished(picture);
      await zip.add(outputName(picture, blob), blob, new Date(picture.file.lastModified || Date.now()));
    } catch (error) {
      told = `${picture.name} is not in the zip: ${error.message}`;
    }
  }
  hand(zip.close(), "undim.zip");
  button.textContent = "Download all (zip)";
  count();
  if (told) {
    $("told").textContent = told;
    $("told").classList.add("bad");
  }
}

// ---- how pictures come in

async function filesOf(items) {
  const entries = [...items].filter((item) => item.kind === "file").map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  const found = [];
  const walk = async (entry) => {
    if (entry instanceof File) found.push(entry);
    else if (entry?.isFile) found.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
    else if (entry?.isDirectory) {
      const reader = entry.createReader();
      for (;;) {
        const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
        if (!some.length) break;
        for (const one of some) if (!one.name.startsWith(".")) await walk(one);
      }
    }
  };
  for (const entry of entries) await walk(entry);
  return found;
}

for (const input of [$("files"), $("shot")]) {
  input.onchange = () => {
    add(input.files);
    input.value = "";
  };
}
document.addEventListener("paste", (event) => add(event.clipboardData?.files ?? []));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  $("add").classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) $("add").classList.remove("over");
});
document.addEventListener("drop", async (event) => {
  event.preventDefault();
  $("add").classList.remove("over");
  const { items, files } = event.dataTransfer;
  const plain = [...files];
  add(items?.length ? await filesOf(items).catch(() => plain) : plain);
});

// ---- controls

$("strength").oninput = $("exposure").oninput = tone;
$("reset").onclick = () => {
  [$("strength").value, $("exposure").value] = [100, 0];
  tone();
};
$("same").onclick = () => {
  for (const one of pictures) {
    [one.strength, one.exposure] = [now.strength, now.exposure];
    change(one, now.model);
  }
};
$("model").onchange = () => {
  if (now) change(now, $("model").value);
};
$("save").onclick = () => save(now);
$("save-all").onclick = saveAll;

function change(picture, model) {
  if (picture.model === model) return;
  picture.request?.abort();
  picture.model = model;
  mark(picture, "waiting");
  jobs.unshift(() => enhance(picture));
  work();
}

const stage = $("stage");
const pointers = new Map();
let apart = 0;

function share(event) {
  const box = stage.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
}

$("split").onpointerdown = (event) => event.currentTarget.setPointerCapture(event.pointerId);
$("split").onpointermove = (event) => {
  if (event.currentTarget.hasPointerCapture(event.pointerId)) [view.split] = share(event);
};
$("canvas").onpointerdown = (event) => {
  event.currentTarget.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, share(event));
  apart = 0;
  if (pointers.size === 1 && !view.zoomed) [view.split] = share(event);
};
$("canvas").onpointermove = (event) => {
  const before = pointers.get(event.pointerId);
  if (!before) return;
  const after = share(event);
  pointers.set(event.pointerId, after);
  if (pointers.size === 2) {
    const [[x1, y1], [x2, y2]] = [...pointers.values()];
    const gap = Math.hypot(x1 - x2, y1 - y2);
    if (apart) view.zoomBy(gap / apart, (x1 + x2) / 2, (y1 + y2) / 2);
    apart = gap;
  } else if (view.zoomed) view.pan(after[0] - before[0], after[1] - before[1]);
  else [view.split] = after;
};
$("canvas").onpointerup = $("canvas").onpointercancel = (event) => pointers.delete(event.pointerId);
stage.addEventListener("wheel", (event) => {
  event.preventDefault();
  view.zoomBy(2 ** (-event.deltaY / 240), ...share(event));
}, { passive: false });
$("canvas").ondblclick = (event) => view.zoomBy(view.zoomed ? 0 : 3, ...share(event));
$("in").onclick = () => view.zoomBy(1.5);
$("out").onclick = () => view.zoomBy(1 / 1.5);
$("fit").onclick = () => view.zoomBy(0);
$("split").onkeydown = (event) => {
  const step = event.shiftKey ? 0.1 : 0.02;
  const to = { ArrowLeft: view.split - step, ArrowDown: view.split - step, ArrowRight: view.split + step, ArrowUp: view.split + step, Home: 0, End: 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  view.split = to;
};
$("canvas").onkeydown = (event) => {
  const moves = { ArrowLeft: [0.1, 0], ArrowRight: [-0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[event.key];
  const factor = { "+": 1.5, "=": 1.5, "-": 1 / 1.5, 0: 0 }[event.key];
  if (moves && view.zoomed) view.pan(...moves);
  else if (moves && moves[0]) view.split -= moves[0] / 5;
  else if (factor !== undefined) view.zoomBy(factor);
  else return;
  event.preventDefault();
};

// ---- what the service offers

async function begin() {
  const host = location.hostname;
  $("privacy").textContent = LOCAL.includes(host)
    ? "Nothing leaves this machine, and no picture is kept."
    : `Your pictures go to ${host} and nowhere else, and no picture is kept.`;
  for (let tries = 0; !models; tries += 1) {
    try {
      const answer = await fetch("v1/models", { headers: token ? { Authorization: `Bearer ${token}` } : {} });
      if (answer.status === 401) {
        await askToken();
        continue;
      }
      models = await answer.json();
    } catch {
      await new Promise((go) => setTimeout(go, 1000 * Math.min(8, 2 ** tries)));
    }
  }
  for (const { name, for: purpose } of models.models) $("model").append(new Option(purpose ? `${name} \u2013 ${purpose.replace(/ \(.*/, "")}` : name, name));
  $("model").value = models.default;
  for (const one of pictures) one.model ||= models.default;
}

begin();
