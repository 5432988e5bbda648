// What people do and see.

import { bytes, outputName } from "./names.js";
import { Pictures } from "./pictures.js";
import { openArchive, saveAll, saveBlob } from "./save.js";
import { listModels, setToken } from "./service.js";
import { Stage } from "./stage.js";

const $ = (id) => document.getElementById(id);
const UNSHOWN = "This browser does not show this kind of file: the view is the service's, as JPEG.";
const QUIET = 1500; // milliseconds before a sentence to a screen reader

const lines = new Map(); // of the list, by picture
const pictures = new Pictures(changed, askToken);
const stage = new Stage($("canvas"), $("handle"), tellZoom);
let shown = []; // on the stage
let saving = null; // stops the zip
let updating, saying, asked;

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
	if (pictures.selected) return;
	select(added[0]);
	lines.get(added[0]).radio.focus({ preventScroll: true });
}

async function drop({ items, files }) {
	const entries = [...items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
	add(entries.some((entry) => entry.isDirectory) ? (await Promise.all(entries.map(walk))).flat() : files);
}

/** Whether a file in a folder is a picture; hidden ones do not count. */
const looksLikePicture = ({ name }) =>
	name[0] !== "." && $("files").accept.split(",").some((kind) => name.toLowerCase().endsWith(kind));

/** The pictures below an entry, and what cannot be read. */
async function walk(entry) {
	const [found, unread] = [[], []];
	try {
		if (entry.isFile) return [await new Promise((...ends) => entry.file(...ends))].filter(looksLikePicture);
		const reader = entry.createReader();
		for (let some; some?.length !== 0; found.push(...some)) some = await new Promise((...ends) => reader.readEntries(...ends));
	} catch {
		unread.push(Object.assign(new File([], entry.name), { unread: true }));
	}
	return [...unread, ...(await Promise.all(found.map(walk))).flat()];
}

// The list

function makeLine(picture) {
	const { name, key } = picture;
	const item = $("line").content.firstElementChild.cloneNode(true);
	const [radio, thumb, label, cross, state, bar, again] = item.children;
	lines.set(picture, { item, radio, thumb, state, bar, again });
	radio.id = label.htmlFor = `picture-${key}`;
	state.id = `state-${key}`;
	radio.setAttribute("aria-describedby", state.id);
	label.textContent = label.title = name;
	cross.ariaLabel = `Remove ${name}`;
	again.ariaLabel = `Try again: ${name}`;
	radio.onchange = () => select(picture);
	radio.onkeydown = (event) => {
		if (event.key === "Delete") remove(picture); // answering false would stop Tab
	};
	cross.onclick = () => remove(picture);
	again.onclick = () => pictures.retry(picture);
	return item;
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
	line.again.hidden = !["failed", "cancelled"].includes(picture.state);
	drawThumb(picture, line);
	if (picture === pictures.selected) showSelected();
	update();
}

/** What the service made, else what there is; without the picture's own numbers. */
function drawThumb({ small, after }, { thumb }) {
	const bitmap = (after && small.after) || small.before;
	if (!bitmap) return;
	const scale = Math.max(thumb.width / bitmap.width, thumb.height / bitmap.height);
	const [wide, tall] = [scale * bitmap.width, scale * bitmap.height];
	const context = thumb.getContext("2d");
	context.clearRect(0, 0, thumb.width, thumb.height);
	context.drawImage(bitmap, (thumb.width - wide) / 2, (thumb.height - tall) / 2, wide, tall);
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
	const { key, name, before, after, state, file, unshown } = picture;
	const word = unshown && (before || picture.open) ? [UNSHOWN] : [];
	const wanted = [key, before, after?.blob];
	if (wanted.some((value, index) => value !== shown[index])) {
		stage.show(before && { key, before, after: after?.blob ?? null, size: picture.size });
	}
	shown = wanted;
	$("stage").classList.toggle("compares", Boolean(before && after));
	$("stage").classList.toggle("fails", state === "failed");
	$("stage-state").textContent = state === "ready" ? "" : [describe(picture), ...(before ? [] : word)].join(". ");
	$("canvas").ariaLabel = after ? `${name}, before and after` : name;
	$("name").textContent = name;
	const { width, height } = picture.size ?? {};
	$("facts").textContent = `${width ? `${width} × ${height}, ` : ""}${bytes(file.size)}`;
	$("notes").textContent = [...word, ...picture.notes].join("\n");
	$("download").hidden = state !== "ready";
	$("download").disabled = picture.saving;
	$("download").textContent = picture.saving || "Download";
	$("cancel").hidden = !picture.open && !picture.saving;
	$("retry").hidden = lines.get(picture).again.hidden;
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
	update();
}

// The service

function askToken() {
	if (Date.now() - asked < 2000) return true;
	const token = prompt("This service asks for a token. Closing the page forgets it.");
	if (token) setToken(token);
	return (asked = token && Date.now());
}

async function loadModels() {
	try {
		const { models, default: usual, max_bytes: most } = await listModels();
		pictures.most = most;
		$("model").replaceChildren(...models.map(({ name, for: use }) => new Option(use ? `${name}: ${use}` : name, name, false, name === usual)));
	} catch (error) {
		if (error.status === 401 && askToken()) return loadModels();
		$("model").parentElement.hidden = true;
	}
}

// What is pressed, dropped and moved

const selected = (act) => () => act(pictures.selected);
const clicks = {
	reset: selected((picture) => setNumbers(picture, { strength: 1, exposure: 0 })),
	same: selected(({ strength, exposure }) => {
		for (const picture of pictures.list) Object.assign(picture, { strength, exposure });
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
		$(id).value = "";
	};
}
for (const id of ["strength", "exposure"]) {
	$(id).oninput = () => setNumbers(pictures.selected, { strength: $("strength").value / 100, exposure: +$("exposure").value });
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

loadModels();
