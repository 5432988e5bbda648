// Draws before and after by WebGL 2: what becomes of each pair of values is looked up in the table of curve.js, so the
// sliders cost one small texture and one drawing.

const VERTEX = `#version 300 es
uniform vec4 place;  // left, top, right, bottom on the stage, 0 to 1
out vec2 at;
void main() {
  at = vec2(gl_VertexID & 1, gl_VertexID >> 1);
  vec2 stage = mix(place.xy, place.zw, at);
  gl_Position = vec4(2.0 * stage.x - 1.0, 1.0 - 2.0 * stage.y, 0.0, 1.0);
}`;

const FRAGMENT = `#version 300 es
precision highp float;
precision highp int;
uniform sampler2D before;
uniform sampler2D after;
uniform sampler2D table;  // row: before, column: after
uniform float split;
in vec2 at;
out vec4 colour;
float settled(float b, float a) {
  return texelFetch(table, ivec2(int(a * 255.0 + 0.5), int(b * 255.0 + 0.5)), 0).r;
}
void main() {
  vec4 b = texture(before, at);
  vec4 a = texture(after, at);
  vec3 mixed = vec3(settled(b.r, a.r), settled(b.g, a.g), settled(b.b, a.b));
  colour = vec4((gl_FragCoord.x < split ? b.rgb : mixed) * b.a, b.a);
}`;

const UNITS = { before: 0, after: 1, table: 2 };
const SHARP_FROM = 3;
/** Screen pixels to a picture's pixel from which on the picture's pixels are shown as squares. */

export class WebGLDrawer {
  /** Throws where there is no WebGL 2. `onLost` is called when the graphics card took the pictures away. */
  constructor(canvas, onLost = () => {}) {
    const gl = canvas.getContext("webgl2", { antialias: false, depth: false, premultipliedAlpha: true });
    if (!gl) throw new Error("no WebGL 2");
    this.gl = gl;
    this.canvas = canvas;
    this.largest = Math.min(gl.getParameter(gl.MAX_TEXTURE_SIZE), 8192);
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => {
      this.prepare();
      onLost();
    });
    this.prepare();
  }

  prepare() {
    const { gl } = this;
    this.layers = new Map();
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) {
      throw new Error(gl.getProgramInfoLog(program));
    }
    gl.useProgram(program);
    for (const [name, unit] of Object.entries(UNITS)) gl.uniform1i(gl.getUniformLocation(program, name), unit);
    this.place = gl.getUniformLocation(program, "place");
    this.split = gl.getUniformLocation(program, "split");
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, false);
    gl.activeTexture(gl.TEXTURE0 + UNITS.table);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
  }

  setTable(table) {
    const { gl } = this;
    gl.activeTexture(gl.TEXTURE0 + UNITS.table);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.R8, 256, 256, 0, gl.RED, gl.UNSIGNED_BYTE, table);
  }

  /**
   * Take two bitmaps of one size, which are closed, for a part of the picture: `part` in pixels of the picture.
   * `after` is null where there is none yet. Layers are drawn in the order in which they were set first.
   */
  setLayer(name, before, after, part) {
    this.dropLayer(name);
    this.layers.set(name, { before: this.upload(before), after: after && this.upload(after), part });
  }

  dropLayer(name) {
    const layer = this.layers.get(name);
    this.gl.deleteTexture(layer?.before ?? null);
    this.gl.deleteTexture(layer?.after ?? null);
    this.layers.delete(name);
  }

  upload(bitmap) {
    const { gl } = this;
    const texture = gl.createTexture();
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
    gl.generateMipmap(gl.TEXTURE_2D);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR_MIPMAP_LINEAR);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
    bitmap.close();
    return texture;
  }

  /** Draw all layers in a view of view.js; `split` is the first device pixel from the left that shows after. */
  draw(view, split) {
    const { gl, canvas } = this;
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    for (const { before, after, part } of this.layers.values()) {
      const [left, top] = [view.x + view.scale * part.left, view.y + view.scale * part.top];
      const [right, bottom] = [left + view.scale * part.width, top + view.scale * part.height];
      gl.uniform4f(this.place, left / canvas.width, top / canvas.height, right / canvas.width, bottom / canvas.height);
      gl.uniform1f(this.split, after ? split : canvas.width + 1);
      for (const [unit, texture] of [[UNITS.before, before], [UNITS.after, after ?? before]]) {
        gl.activeTexture(gl.TEXTURE0 + unit);
        gl.bindTexture(gl.TEXTURE_2D, texture);
        gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, view.scale >= SHARP_FROM ? gl.NEAREST : gl.LINEAR);
      }
      gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
    }
  }
}
