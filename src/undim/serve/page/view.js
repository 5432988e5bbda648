// Where the picture stands on the stage. A view has `scale`, device pixels of the stage to a pixel of the picture, and
// `x` and `y`, where the picture's corner is, in device pixels. Sizes have width and height.

export const LARGEST = 16;
/** Largest scale: a pixel of the picture on so many of the screen. */

/** The whole picture, in the middle. Small pictures are enlarged at most four times. */
export function fit(stage, picture) {
  const scale = Math.min(stage.width / picture.width, stage.height / picture.height, 4);
  return settle({ scale, x: 0, y: 0 }, stage, picture);
}

/** The view in which the picture covers the stage as far as it can, and stays in the middle of what it does not. */
export function settle(view, stage, picture) {
  return {
    scale: view.scale,
    x: along(view.x, stage.width, view.scale * picture.width),
    y: along(view.y, stage.height, view.scale * picture.height),
  };
}

function along(start, stage, length) {
  if (length <= stage) return Math.round((stage - length) / 2);
  return Math.min(0, Math.max(stage - length, start));
}

/** Zoom by a factor about a point of the stage, which keeps its place: no smaller than the whole picture. */
export function zoom(view, factor, point, stage, picture) {
  const smallest = fit(stage, picture).scale;
  const scale = Math.min(Math.max(view.scale * factor, smallest), Math.max(LARGEST, smallest));
  const by = scale / view.scale;
  return settle({ scale, x: point.x - by * (point.x - view.x), y: point.y - by * (point.y - view.y) }, stage, picture);
}

export function pan(view, dx, dy, stage, picture) {
  return settle({ scale: view.scale, x: view.x + dx, y: view.y + dy }, stage, picture);
}

export function isFitted(view, stage, picture) {
  return view.scale <= fit(stage, picture).scale * 1.001;
}

/** The part of the picture that is seen, in whole pixels of it, with a margin of so much of its sides. */
export function visible(view, stage, picture, margin = 0) {
  const wide = (margin * stage.width) / view.scale;
  const tall = (margin * stage.height) / view.scale;
  const left = Math.max(0, Math.floor(-view.x / view.scale - wide));
  const top = Math.max(0, Math.floor(-view.y / view.scale - tall));
  const right = Math.min(picture.width, Math.ceil((stage.width - view.x) / view.scale + wide));
  const bottom = Math.min(picture.height, Math.ceil((stage.height - view.y) / view.scale + tall));
  return { left, top, width: Math.max(1, right - left), height: Math.max(1, bottom - top) };
}
