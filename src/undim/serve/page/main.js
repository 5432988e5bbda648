// What people do, and what they see of it.

import { applyTable, makeTable } from "./curve.js";
import { bytes, looksLikePicture, outputName } from "./names.js";
import { Pictures } from "./pictures.js";
import { openArchive, saveAll, saveBlob } from "./save.js";
import { listModels, setToken } from "./service.js";
import { Stage } from "./stage.js";

const $ = (id) => document.getElementById(id);
const LOOPBACK = /^(localhost|127(\.\d+){3}|\[::1\])$/;
const QUIET = 1500; // milliseconds before a sentence to a screen reader

const lines = new Map(); // of the list, by picture
const pictures = new Pictures(changed, askToken);
const stage = new Stage($("canvas"), $("handle"), tellZoom);
let shown = []; // on the stage
let saving = null; // stops the zip
let updating, saying;

// Words

const many = (number, thing) => `${number} ${thing}${number === 1 ? "" : "s"}`;
const percent = (share) => `${Math.round(100 * share)} %`;
const STATES = {
	waiting: () => "Waiting",
	sending: ({ share }) => `Sending ${percent(share)}`,
	working: ({ since }) => `Working, ${Math.round((Date.now() - since) / 1000)} s`,
	receiving: ({ share }) => `Receiving ${percent(share)}`,
	busy: ({ share }) => `The service is busy; trying again in ${many(Math.ceil(share), "second")}`,
	ready: () => "Ready",
	failed: ({ words }) => words,
	cancelled: () => "Cancelled",
};
const inState = (wanted) => pictures.list.filter(({ state }) => state === wanted);
const describe = (picture) => STATES[picture.state](picture);

function say(words) {
	clearTimeout(saying);
	saying = setTimeout(() => ($("said").textContent = words), QUIET);
}

// Pictures in

function add(files) {
	if (!files.length) return;
	document.body.classList.remove("empty");
	const added = pictures.add([...files]);
	$("items").append(...added.map(makeLine));
	added.forEach(changed);
	if (!pictures.selected) select(added[0]);
}

async function drop({ items, files }) {
	const entries = [...items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
	add(entries.some((entry) => entry.isDirectory) ? (await Promise.all(entries.map(walk))).flat() : files);
}

async function walk(entry) {
	if (entry.isFile) {
		const file = await new Promise((resolve) => entry.file(resolve));
		return looksLikePicture(file) ? [file] : [];
	}
	const reader = entry.createReader();
	const found = [];
	for (let some; some?.length !== 0; found.push(...some)) some = await new Promise((resolve) => reader.readEntries(resolve));
	return (await Promise.all(found.map(walk))).flat();
}

// The list

function element(name, properties, ...children) {
	const made = Object.assign(document.createElement(name), properties);
	made.append(...children);
	return made;
}

function makeLine(picture) {
	const { name, key } = picture;
	const line = {
		radio: element("input", { type: "radio", name: "picture", autocomplete: "off", className: "unseen", id: `picture-${key}` }),
		thumb: element("canvas", { width: 144, height: 108, ariaHidden: true }),
		label: element("label", { textContent: name, title: name, dir: "auto", htmlFor: `picture-${key}` }),
		remove: element("button", { className: "plain remove", textContent: "✕", ariaLabel: `Remove ${name}`, tabIndex: -1 }),
		state: element("p", { className: "state small", id: `state-${key}` }),
		bar: element("span", { className: "bar" }),
		retry: element("button", { className: "link", textContent: "Try again", ariaLabel: `Try again: ${name}` }),
	};
	line.radio.setAttribute("aria-describedby", line.state.id);
	line.radio.onchange = () => select(picture);
	line.radio.onkeydown = ({ key: pressed }) => {
		if (pressed === "Delete") remove(picture);
	};
	line.retry.onclick = () => pictures.retry(picture);
	line.remove.onclick = () => remove(picture);
	line.item = element("li", { className: "item" }, ...Object.values(line));
	lines.set(picture, line);
	return line.item;
}

function select(picture) {
	pictures.selected = picture;
	lines.get(picture).radio.checked = true;
	const list = $("items"); // where it does not scroll itself, on phones, the stage is above it
	(list.scrollHeight > list.clientHeight ? lines.get(picture).item : $("stage")).scrollIntoView({ block: "nearest" });
	setNumbers(picture);
	showSelected();
}

function remove(picture) {
	const index = pictures.list.indexOf(picture);
	pictures.remove(picture);
	lines.get(picture).item.remove();
	lines.delete(picture);
	say(`${picture.name} removed`);
	update();
	if (picture === pictures.selected) {
		pictures.selected = null;
		const next = pictures.list[index] ?? pictures.list.at(-1);
		if (next) select(next);
		else stage.show(null);
	}
	document.body.classList.toggle("empty", !pictures.selected);
	(lines.get(pictures.selected)?.radio ?? $("choose")).focus();
}

function changed(picture) {
	const line = lines.get(picture);
	if (!line) return;
	if (picture.state !== "working") picture.since = Date.now();
	line.item.dataset.state = picture.state;
	line.state.textContent = describe(picture);
	line.bar.style.transform = `scaleX(${picture.state === "working" ? 1 : picture.share})`;
	line.retry.hidden = !["failed", "cancelled"].includes(picture.state);
	drawThumb(picture);
	if (picture === pictures.selected) showSelected();
	update();
}

function drawThumb(picture) {
	const { before, after } = picture.small;
	const { thumb } = lines.get(picture);
	const { width, height } = thumb;
	const context = thumb.getContext("2d", { willReadFrequently: true });
	const cover = (bitmap) => {
		const scale = Math.max(width / bitmap.width, height / bitmap.height);
		const [wide, tall] = [scale * bitmap.width, scale * bitmap.height];
		context.clearRect(0, 0, width, height);
		context.drawImage(bitmap, (width - wide) / 2, (height - tall) / 2, wide, tall);
		return context.getImageData(0, 0, width, height);
	};
	const dark = before && cover(before);
	if (!dark || !after || !picture.after) return;
	const made = cover(after);
	applyTable(makeTable(picture.strength, picture.exposure), dark.data, made.data);
	context.putImageData(made, 0, 0);
}

function update() {
	cancelAnimationFrame(updating);
	updating = requestAnimationFrame(() => {
		const [ready, failed] = ["ready", "failed"].map((state) => inState(state).length);
		const words = `${ready} of ${pictures.list.length} ready${failed ? `, ${failed} failed` : ""}`;
		if ($("summary").textContent !== words) say(words);
		$("summary").textContent = words;
		$("retry-all").hidden = failed < 2;
		$("retry-all").textContent = `Try the ${failed} failed ones again`;
		$("download-all").disabled = !ready && !saving;
		$("download-all").textContent = saving ? "Stop" : `Download ${ready > 1 ? `all ${ready} ` : ""}as a zip`;
	});
}

// The chosen picture

function showSelected() {
	const picture = pictures.selected;
	const { key, name, before, after, state, file } = picture;
	const wanted = [key, before, after?.blob];
	if (wanted.some((value, index) => value !== shown[index])) {
		stage.show(before && { key, before, after: after?.blob ?? null, size: picture.size });
	}
	shown = wanted;
	$("stage").classList.toggle("compares", Boolean(before && after));
	$("stage").classList.toggle("fails", state === "failed");
	$("stage-state").textContent = state === "ready" ? "" : describe(picture);
	$("canvas").ariaLabel = after ? `${name}, before and after` : name;
	$("name").textContent = name;
	const { width, height } = picture.size ?? {};
	$("facts").textContent = `${width ? `${width} × ${height}, ` : ""}${bytes(file.size)}`;
	$("notes").replaceChildren(...picture.notes.map((note) => element("li", { textContent: note })));
	$("download").hidden = state !== "ready";
	$("download").disabled = picture.saving;
	$("download").textContent = picture.saving || "Download";
	$("cancel").hidden = !picture.open && !picture.saving;
	$("retry").hidden = lines.get(picture).retry.hidden;
}

function tellZoom({ scale }) {
	$("zoom-fit").textContent = percent(scale);
	$("zoom-fit").ariaLabel = `${percent(scale)}, show all`;
}

function setNumbers(picture, numbers = {}) {
	const { strength, exposure } = Object.assign(picture, numbers);
	const stops = exposure.toFixed(1).replace("-", "−").replace(/^(?=[1-9]|0\.[1-9])/, "+");
	$("strength").value = 100 * strength;
	$("exposure").value = exposure;
	$("strength-value").textContent = $("strength").ariaValueText = percent(strength);
	$("exposure-value").textContent = $("exposure").ariaValueText = `${stops} EV`;
	$("reset").disabled = strength === 1 && exposure === 0;
	stage.setNumbers(strength, exposure);
}

// Pictures out

async function download(picture) {
	const stopper = (picture.savingStopper = new AbortController());
	let since = Date.now();
	const tell = (state, share) => {
		picture.saving = STATES[state]({ share, since });
		if (state === "sending") since = Date.now();
		changed(picture);
	};
	try {
		const { blob, kind } = await pictures.output(picture, $("format").value, stopper.signal, tell);
		saveBlob(blob, outputName(picture.name, kind));
		say(`${picture.name} downloaded`);
	} catch (error) {
		if (!stopper.signal.aborted) pictures.set(picture, "failed", 0, error.message);
	}
	picture.saving = "";
	changed(picture);
}

async function downloadAll() {
	if (saving) return saving.abort();
	const ready = inState("ready");
	const name = `undim ${new Date().toISOString().slice(0, 10)}.zip`;
	const tell = (words) => ($("zip-state").textContent = words);
	saving = new AbortController();
	const { signal } = saving;
	try {
		const archive = await openArchive(name);
		update();
		const saved = await saveAll(archive, ready, {
			make: (picture) => pictures.output(picture, $("format").value, signal, () => {}),
			failed: (picture, error) => pictures.set(picture, "failed", 0, error.message),
			tell: (done) => tell(`${done} of ${ready.length} in the zip`),
			signal,
		});
		tell(`${saved} of ${many(ready.length, "picture")} saved in ${name}`);
	} catch (error) {
		tell(error.name === "AbortError" ? "Stopped; no zip was saved" : `No zip was saved: ${error.message}`);
	}
	saving = null;
	return update();
}

// The service

function askToken() {
	const token = prompt("This service asks for a token. Closing the page forgets it.");
	if (token) setToken(token);
	return Boolean(token);
}

async function loadModels() {
	try {
		const { models, default: usual, max_bytes: most } = await listModels();
		pictures.most = most;
		$("model").replaceChildren(...models.map(({ name, for: use }) => new Option(use ? `${name}: ${use}` : name, name, false, name === usual)));
	} catch (error) {
		if (error.status === 401 && askToken()) return loadModels();
		$("model").parentElement.hidden = true; // the service takes its own
	}
	return undefined;
}

// What is pressed, dropped and moved

const selected = (act) => () => act(pictures.selected);
const clicks = {
	reset: selected((picture) => (setNumbers(picture, { strength: 1, exposure: 0 }), drawThumb(picture))),
	same: selected(({ strength, exposure }) => {
		for (const picture of pictures.list) drawThumb(Object.assign(picture, { strength, exposure }));
		say("All pictures have these numbers now");
	}),
	download: selected(download),
	"download-all": downloadAll,
	cancel: selected((picture) => {
		if (picture.open) pictures.cancel(picture);
		picture.savingStopper?.abort();
		lines.get(picture).radio.focus();
	}),
	retry: selected((picture) => pictures.retry(picture)),
	remove: selected(remove),
	"retry-all": () => inState("failed").forEach((picture) => pictures.retry(picture)),
	"zoom-in": () => stage.zoom(1.5),
	"zoom-out": () => stage.zoom(1 / 1.5),
	"zoom-fit": () => stage.fit(),
};
for (const [id, click] of Object.entries(clicks)) $(id).onclick = click;

for (const [button, id] of [["choose", "files"], ["add", "files"], ["photograph", "camera"]]) {
	$(button).onclick = () => $(id).click();
	$(id).onchange = () => {
		add($(id).files);
		$(id).value = ""; // so that the same file can be chosen again
	};
}
for (const id of ["strength", "exposure"]) {
	const take = () => ({ strength: $("strength").value / 100, exposure: Number($("exposure").value) });
	$(id).oninput = () => setNumbers(pictures.selected, take());
	$(id).onchange = () => drawThumb(pictures.selected);
}
$("model").onchange = () => pictures.setModel($("model").value);

document.onpaste = ({ clipboardData }) => add(clipboardData.files);
document.ondragover = (event) => {
	event.preventDefault();
	document.body.classList.add("dragging");
};
document.ondragleave = ({ relatedTarget }) => relatedTarget || document.body.classList.remove("dragging");
document.ondrop = (event) => {
	event.preventDefault();
	document.body.classList.remove("dragging");
	drop(event.dataTransfer);
};

setInterval(() => inState("working").forEach(changed), 1000);
// Nothing is kept, nor brought back from the browser's memory.
window.onpagehide = () => pictures.close();
window.onpageshow = ({ persisted }) => persisted && location.reload();

$("promise").textContent = LOOPBACK.test(location.hostname)
	? "Your pictures do not leave this computer, and none is kept."
	: `Your pictures go to ${location.host}, nowhere else; this page keeps none.`;
loadModels();
