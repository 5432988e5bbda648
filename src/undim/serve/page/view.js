// Where the picture is on the stage. A view has `scale`, pixels of the screen to one of the picture, and its corner, `x`
// and `y`, in pixels of the screen.

const LARGEST = 16;
const ENLARGED = 4;
/** Largest scale of a small picture that is shown whole. */

const along = (start, stage, length) =>
	length <= stage ? Math.round((stage - length) / 2) : Math.min(0, Math.max(stage - length, start));

/** Cover the stage as far as the picture can; the middle where it cannot. */
export const settle = ({ scale, x, y }, stage, picture) => ({
	scale,
	x: along(x, stage.width, scale * picture.width),
	y: along(y, stage.height, scale * picture.height),
});

const smallest = (stage, picture) => Math.min(stage.width / picture.width, stage.height / picture.height, ENLARGED);

/** The whole picture. */
export const fit = (stage, picture) => settle({ scale: smallest(stage, picture), x: 0, y: 0 }, stage, picture);

export const isFitted = (view, stage, picture) => view.scale <= smallest(stage, picture) * 1.001;

/** Zoom about a point of the stage, which stays where it is. */
export function zoom(view, factor, point, stage, picture) {
	const scale = Math.max(Math.min(view.scale * factor, LARGEST), smallest(stage, picture));
	const by = scale / view.scale;
	return settle({ scale, x: point.x - by * (point.x - view.x), y: point.y - by * (point.y - view.y) }, stage, picture);
}

/** The part that is seen, in whole pixels of the picture, and a margin about it: a share of the stage. */
export function visible({ scale, x, y }, stage, picture, margin) {
	const span = (start, length, end) => {
		const first = Math.max(0, Math.floor((-start - margin * length) / scale));
		return [first, Math.min(end, Math.ceil((length * (1 + margin) - start) / scale)) - first];
	};
	const [left, width] = span(x, stage.width, picture.width);
	const [top, height] = span(y, stage.height, picture.height);
	return { left, top, width, height };
}
