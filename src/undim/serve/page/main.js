// The page: what people do, and what they see of it.

import { applyTable, makeTable } from "./curve.js";
import { looksLikePicture, outputName } from "./names.js";
import { Pictures } from "./pictures.js";
import { openArchive, saveAll, saveBlob } from "./save.js";
import { listModels, setToken } from "./service.js";
import { Stage } from "./stage.js";

const $ = (id) => document.getElementById(id);
const LOOPBACK = /^(localhost|.*\.localhost|127(\.\d+){3}|\[::1\])$/;
const QUIET = 1500;
/** Milliseconds between two sentences to a screen reader. */

const items = new Map();
const pictures = new Pictures(changed, askToken);
const stage = new Stage($("canvas"), $("handle"));
let saving = null;
let asked = null;

// --- words

const count = (number, one, many) => `${number} ${number === 1 ? one : many}`;
const percent = (share) => `${Math.round(100 * share)} %`;

function megabytes(bytes) {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

const STATES = {
  waiting: () => "Waiting",
  sending: ({ share }) => `Sending ${percent(share)}`,
  working: ({ since }) => `Working, ${Math.round((performance.now() - since) / 1000)} s`,
  receiving: ({ share }) => `Receiving ${percent(share)}`,
  busy: ({ share }) => `The service is busy; trying again in ${count(Math.ceil(share), "second", "seconds")}`,
  ready: () => "Ready",
  failed: ({ words }) => words,
  cancelled: () => "Cancelled",
};
const describe = (picture) => STATES[picture.state](picture);

function promise() {
  if (LOOPBACK.test(location.hostname)) return "Your pictures do not leave this computer, and none is kept.";
  return `Your pictures go to ${location.host} and nowhere else; this page keeps none.`;
}

// --- pictures in

function add(files) {
  const list = [...files];
  if (!list.length) return;
  document.body.classList.remove("empty");
  const added = pictures.add(list);
  $("items").append(...added.map(makeItem));
  added.forEach(changed);
  if (!pictures.selected) select(added[0]);
  say(`${count(added.length, "picture", "pictures")} added`);
}

async function drop(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return add(transfer.files);
  const found = await Promise.all(entries.map((entry) => walk(entry, true)));
  const files = found.flat();
  if (files.length) add(files);
  else say("There is no picture in that folder.", true);
  return undefined;
}

/** The files of a dropped entry; of a folder, the pictures in it and below. */
async function walk(entry, named = false) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    return named || looksLikePicture(file) ? [file] : [];
  }
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) break; // a reader gives a hundred entries at a time
    found.push(...some);
  }
  found.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
  return (await Promise.all(found.map((each) => walk(each)))).flat();
}

// --- the list

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function makeItem(picture) {
  const radio = element("input", { type: "radio", name: "picture", autocomplete: "off", className: "unseen" });
  const thumb = element("canvas", { width: 144, height: 108 });
  const state = element("p", { className: "state", id: `state-${picture.key}` });
  const bar = element("span", { className: "bar" }, element("span"));
  const retry = element("button", { type: "button", className: "link", textContent: "Try again", hidden: true });
  const remove = element("button", { type: "button", className: "remove", textContent: "×", tabIndex: -1 });
  const name = element("span", { className: "name", textContent: picture.name, dir: "auto", title: picture.name });
  remove.setAttribute("aria-label", `Remove ${picture.name}`);
  retry.setAttribute("aria-label", `Try again: ${picture.name}`);
  radio.setAttribute("aria-describedby", state.id);
  thumb.setAttribute("aria-hidden", "true");
  radio.addEventListener("change", () => select(picture));
  radio.addEventListener("keydown", (event) => {
    if (event.key === "Delete" || event.key === "Backspace") removeOne(picture);
  });
  retry.addEventListener("click", () => pictures.retry(picture));
  remove.addEventListener("click", () => removeOne(picture));
  const label = element("label", {}, radio, thumb, name);
  const item = element("li", { className: "item" }, label, element("div", { className: "under" }, state, bar, retry), remove);
  items.set(picture, { item, radio, thumb, state, bar, retry });
  return item;
}

function select(picture) {
  pictures.selected = picture;
  const { radio, item } = items.get(picture);
  radio.checked = true;
  item.scrollIntoView({ block: "nearest", inline: "nearest" });
  showNumbers();
  showSelected();
}

function removeOne(picture) {
  const { item, radio } = items.get(picture);
  const index = pictures.list.indexOf(picture);
  const hadFocus = item.contains(document.activeElement) || document.activeElement === $("remove");
  radio.disabled = true;
  pictures.remove(picture);
  items.delete(picture);
  item.remove();
  const next = pictures.list[Math.min(index, pictures.list.length - 1)];
  say(`${picture.name} removed`);
  update();
  if (!next) return clear();
  if (picture === pictures.selected) select(next);
  if (hadFocus) items.get(pictures.selected).radio.focus();
  return undefined;
}

function clear() {
  pictures.selected = null;
  stage.show(null);
  document.body.classList.add("empty");
  $("choose").focus();
}

/** One picture has changed: its line, and the stage if it is the one there. */
function changed(picture) {
  const line = items.get(picture);
  if (!line) return;
  if (picture.state === "working") picture.since ??= performance.now();
  else picture.since = null;
  line.item.dataset.state = picture.state;
  line.state.textContent = describe(picture);
  line.bar.firstChild.style.width = percent(picture.state === "sending" || picture.state === "receiving" ? picture.share : 1);
  line.retry.hidden = !["failed", "cancelled"].includes(picture.state);
  drawThumb(picture);
  if (picture === pictures.selected) showSelected();
  update();
}

function drawThumb(picture) {
  const { before, after } = picture.small;
  const { thumb } = items.get(picture);
  if (!before) return;
  const context = thumb.getContext("2d", { willReadFrequently: true });
  const settled = cover(context, thumb, before);
  if (after && picture.after) {
    const made = cover(context, thumb, after);
    applyTable(makeTable(picture.strength, picture.exposure), settled.data, made.data);
    context.putImageData(made, 0, 0);
  }
}

function cover(context, { width, height }, bitmap) {
  const scale = Math.max(width / bitmap.width, height / bitmap.height);
  const [wide, tall] = [scale * bitmap.width, scale * bitmap.height];
  context.clearRect(0, 0, width, height);
  context.drawImage(bitmap, (width - wide) / 2, (height - tall) / 2, wide, tall);
  return context.getImageData(0, 0, width, height);
}

/** What tells of all pictures together; once a frame, however many change. */
function update() {
  if (update.frame) return;
  update.frame = requestAnimationFrame(() => {
    update.frame = 0;
    const { list } = pictures;
    const ready = list.filter(({ state }) => state === "ready").length;
    const failed = list.filter(({ state }) => state === "failed").length;
    const parts = [`${ready} of ${list.length} ready`];
    if (failed) parts.push(`${failed} failed`);
    $("summary").textContent = parts.join(", ");
    $("retry-all").hidden = failed < 2;
    $("retry-all").textContent = `Try the ${failed} failed ones again`;
    if (!saving) {
      $("download-all").disabled = !ready;
      $("download-all").textContent = ready > 1 || !ready ? `Download all ${ready || ""}`.trim() : "Download as zip";
    }
    if (list.length && parts.join() !== update.said) {
      update.said = parts.join();
      say(parts.join(", "));
    }
  });
}

function say(words, now = false) {
  say.next = words;
  if (now) clearTimeout(say.timer);
  if (say.timer && !now) return;
  say.timer = setTimeout(
    () => {
      say.timer = 0;
      $("said").textContent = say.next;
    },
    now ? 0 : QUIET,
  );
}

// --- the chosen picture

function showSelected() {
  const picture = pictures.selected;
  const { before, after, size, state, key } = picture;
  const shown = [key, before, after?.blob];
  if (!before && showSelected.shown?.[0] !== key) stage.show(null);
  if (before && !shown.every((value, index) => value === showSelected.shown?.[index])) {
    stage.show({ key, before, after: after?.blob ?? null, size });
  }
  showSelected.shown = shown;
  $("stage").classList.toggle("compares", Boolean(before && after));
  $("stage").classList.toggle("fails", state === "failed");
  const unseen = !before && picture.open ? "This browser cannot show this kind of picture by itself; it comes from the service. " : "";
  $("stage-state").textContent = state === "ready" ? "" : unseen + describe(picture);
  $("name").textContent = picture.name;
  $("facts").textContent = [size && `${size.width} × ${size.height}`, megabytes(picture.file.size)].filter(Boolean).join(", ");
  $("notes").replaceChildren(...picture.notes.map((note) => element("li", { textContent: note })));
  $("download").hidden = state !== "ready";
  $("download").disabled = Boolean(picture.saving);
  $("download").textContent = picture.saving ? picture.saving : "Download";
  $("cancel").hidden = !picture.open && !picture.saving;
  $("retry").hidden = !["failed", "cancelled"].includes(state);
  $("canvas").setAttribute("role", "img");
  $("canvas").setAttribute("aria-label", after ? `${picture.name}, before on the left and after on the right` : picture.name);
}

function showNumbers() {
  const { strength, exposure } = pictures.selected;
  $("strength").value = Math.round(100 * strength);
  $("exposure").value = exposure;
  tellNumbers();
}

function tellNumbers() {
  const { strength, exposure } = pictures.selected;
  const stops = `${exposure > 0 ? "+" : exposure < 0 ? "−" : ""}${Math.abs(exposure).toFixed(1)}`;
  $("strength-value").textContent = percent(strength);
  $("exposure-value").textContent = `${stops} EV`;
  $("strength").setAttribute("aria-valuetext", percent(strength));
  $("exposure").setAttribute("aria-valuetext", `${stops} stops`);
  for (const id of ["strength", "exposure"]) {
    const { min, max, value } = $(id);
    $(id).style.setProperty("--share", (value - min) / (max - min));
  }
  $("reset").disabled = strength === 1 && exposure === 0;
  stage.setNumbers(strength, exposure);
}

function takeNumbers() {
  pictures.selected.strength = Number($("strength").value) / 100;
  pictures.selected.exposure = Number($("exposure").value);
  tellNumbers();
}

// --- pictures out

const wishes = () => ({ format: $("format").value, quality: $("quality").value });

async function downloadOne(picture) {
  const stopper = new AbortController();
  const tell = (state, share) => {
    picture.saving = STATES[state]({ share, since: (tell.since ??= performance.now()) });
    changed(picture);
  };
  picture.savingStopper = stopper;
  tell("sending", 0);
  try {
    const made = await pictures.output(picture, wishes(), stopper.signal, tell);
    saveBlob(made.blob, outputName(picture.name, made.kind));
    say(`${picture.name} downloaded`);
  } catch (error) {
    if (!stopper.signal.aborted) pictures.set(picture, "failed", 0, error.message);
  }
  picture.saving = "";
  changed(picture);
}

async function downloadAll() {
  if (saving) return saving.abort();
  const ready = pictures.list.filter(({ state }) => state === "ready");
  const name = `undim ${new Date().toLocaleDateString("sv")}.zip`;
  let archive;
  try {
    archive = await openArchive(name);
  } catch (error) {
    if (error.name !== "AbortError") $("zip-state").textContent = `The file could not be opened: ${error.message}`;
    return undefined;
  }
  saving = new AbortController();
  const { signal } = saving;
  const tell = (done) => ($("zip-state").textContent = `${done} of ${ready.length} in the zip`);
  $("download-all").textContent = "Stop";
  tell(0);
  try {
    const saved = await saveAll(archive, ready, {
      make: (picture) => pictures.output(picture, wishes(), signal, () => {}),
      failed: (picture, error) => pictures.set(picture, "failed", 0, error.message),
      tell,
      signal,
    });
    $("zip-state").textContent =
      saved === ready.length
        ? `${count(saved, "picture", "pictures")} saved in ${name}`
        : `${saved} of ${ready.length} saved in ${name}; the others say why not`;
  } catch (error) {
    $("zip-state").textContent = signal.aborted ? "Stopped; no zip was saved" : `No zip was saved: ${error.message}`;
  }
  saving = null;
  update();
  return undefined;
}

// --- the service

/** Ask the user for the token; several requests at once wait for one answer. */
function askToken() {
  asked ??= new Promise((resolve, reject) => {
    const dialog = $("ask-token");
    dialog.returnValue = "";
    dialog.showModal();
    dialog.addEventListener(
      "close",
      () => {
        asked = null;
        setToken($("token").value);
        if ($("token").value) resolve();
        else reject(new Error("This service asks for a token."));
      },
      { once: true },
    );
  });
  return asked;
}

async function loadModels() {
  try {
    const { models, default: usual } = await listModels();
    $("model").replaceChildren(
      ...models.map(({ name, purpose }) => new Option(purpose ? `${name}: ${purpose}` : name, name, name === usual, name === usual)),
    );
  } catch (error) {
    if (error.status === 401) return askToken().then(loadModels, () => {});
    $("model").closest("p").hidden = true; // the service's own choice then
  }
  return undefined;
}

// --- wiring

function wire() {
  for (const id of ["choose", "add"]) $(id).addEventListener("click", () => $("files").click());
  $("photograph").addEventListener("click", () => $("camera").click());
  for (const id of ["files", "camera"]) {
    $(id).addEventListener("change", () => {
      add($(id).files);
      $(id).value = ""; // so that the same file can be chosen again
    });
  }
  document.addEventListener("paste", (event) => add(event.clipboardData.files));
  let depth = 0; // of elements that the pointer has entered with files
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  const mark = () => document.body.classList.toggle("dragging", depth > 0);
  document.addEventListener("dragenter", (event) => hasFiles(event) && (depth++, mark()));
  document.addEventListener("dragleave", (event) => hasFiles(event) && (depth--, mark()));
  document.addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
  document.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = 0;
    mark();
    drop(event.dataTransfer);
  });

  for (const id of ["strength", "exposure"]) {
    $(id).addEventListener("input", takeNumbers);
    $(id).addEventListener("change", () => drawThumb(pictures.selected));
  }
  $("reset").addEventListener("click", () => {
    Object.assign(pictures.selected, { strength: 1, exposure: 0 });
    showNumbers();
    drawThumb(pictures.selected);
    $("strength").focus();
  });
  $("same").addEventListener("click", () => {
    const { strength, exposure } = pictures.selected;
    for (const picture of pictures.list) {
      Object.assign(picture, { strength, exposure });
      drawThumb(picture);
    }
    say("All pictures have these numbers now");
  });
  for (const id of ["model", "fast"]) {
    $(id).addEventListener("change", () => pictures.setWay($("model").value, $("fast").checked));
  }

  $("download").addEventListener("click", () => downloadOne(pictures.selected));
  $("download-all").addEventListener("click", downloadAll);
  $("cancel").addEventListener("click", () => {
    const picture = pictures.selected;
    if (picture.open) pictures.cancel(picture);
    picture.savingStopper?.abort();
    items.get(picture).radio.focus();
  });
  $("retry").addEventListener("click", () => pictures.retry(pictures.selected));
  $("remove").addEventListener("click", () => removeOne(pictures.selected));
  $("retry-all").addEventListener("click", () => {
    for (const picture of pictures.list) if (picture.state === "failed") pictures.retry(picture);
  });
  $("zoom-in").addEventListener("click", () => stage.zoom(1.5));
  $("zoom-out").addEventListener("click", () => stage.zoom(1 / 1.5));
  $("zoom-fit").addEventListener("click", () => stage.fit());
  stage.onDraw = () => {
    const share = percent(stage.view.scale);
    $("zoom-share").textContent = share;
    $("zoom-fit").setAttribute("aria-label", `${share}, show the whole picture`);
  };

  setInterval(() => {
    for (const picture of pictures.list) if (picture.state === "working") changed(picture);
  }, 1000);
  // Nothing is kept: not when the page is left, nor when the browser would bring it back from its memory.
  window.addEventListener("pagehide", () => pictures.close());
  window.addEventListener("pageshow", (event) => event.persisted && location.reload());
}

$("promise").textContent = promise();
wire();
loadModels();
