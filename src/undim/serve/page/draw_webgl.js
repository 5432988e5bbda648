// Draws before and after by WebGL 2. What becomes of each pair of values is looked up in the table of curve.js: a move
// of a slider costs one small texture.

const VERTEX = `#version 300 es
uniform vec4 place;  // left, top, right, bottom: shares of the stage
out vec2 at;
void main() {
	at = vec2(gl_VertexID & 1, gl_VertexID >> 1);
	gl_Position = vec4((2.0 * mix(place.xy, place.zw, at) - 1.0) * vec2(1, -1), 0, 1);
}`;

const FRAGMENT = `#version 300 es
precision highp float;
precision highp int;
uniform sampler2D before, after, table;  // the table's rows are before, its columns after
uniform float split;
in vec2 at;
out vec4 colour;
void main() {
	vec4 b = texture(before, at);
	ivec3 row = ivec3(b.rgb * 255.0 + 0.5), column = ivec3(texture(after, at).rgb * 255.0 + 0.5);
	vec3 made = vec3(0);
	for (int i = 0; i < 3; i++) made[i] = texelFetch(table, ivec2(column[i], row[i]), 0).r;
	colour = vec4((gl_FragCoord.x < split ? b.rgb : made) * b.a, b.a);
}`;

const SOFTWARE = /swiftshader|llvmpipe|softpipe|basic render/i; // slower than a plain canvas
const TABLE = 2; // texture unit; before and after are 0 and 1
export const SHARP_FROM = 3; // scale from which on pixels are squares

export class WebGLDrawer {
	/** Throws where there is no WebGL 2, or no graphics card for it. `onLost` is called when the pictures have to be set again. */
	constructor(canvas, onLost) {
		// Tried on another canvas: one that has WebGL is good for nothing else.
		const trial = document.createElement("canvas").getContext("webgl2");
		const named = trial.getExtension("WEBGL_debug_renderer_info");
		if (SOFTWARE.test(named && trial.getParameter(named.UNMASKED_RENDERER_WEBGL))) throw new Error("WebGL 2 would be slow");
		this.canvas = canvas;
		this.gl = canvas.getContext("webgl2", { antialias: false, depth: false });
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
		gl.useProgram(program);
		const uniform = (name) => gl.getUniformLocation(program, name);
		["before", "after", "table"].forEach((name, unit) => gl.uniform1i(uniform(name), unit));
		this.place = uniform("place");
		this.split = uniform("split");
		gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
		this.bind(TABLE, gl.createTexture(), gl.NEAREST, gl.NEAREST);
	}

	bind(unit, texture, larger, smaller) {
		const { gl } = this;
		gl.activeTexture(gl.TEXTURE0 + unit);
		gl.bindTexture(gl.TEXTURE_2D, texture);
		gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, larger);
		gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, smaller);
		for (const side of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, side, gl.CLAMP_TO_EDGE);
	}

	setTable(table) {
		const { gl } = this;
		gl.activeTexture(gl.TEXTURE0 + TABLE);
		gl.texImage2D(gl.TEXTURE_2D, 0, gl.R8, 256, 256, 0, gl.RED, gl.UNSIGNED_BYTE, table);
	}

	/** Take, and close, the bitmaps of a part, {left, top, width, height}; `after` may be null. */
	setLayer(name, before, after, part) {
		this.dropLayer(name);
		this.layers.set(name, { before: this.upload(before), after: after && this.upload(after), part });
	}

	dropLayer(name) {
		const layer = this.layers.get(name);
		for (const side of ["before", "after"]) this.gl.deleteTexture(layer?.[side] ?? null);
		this.layers.delete(name);
	}

	upload(bitmap) {
		const { gl } = this;
		const texture = gl.createTexture();
		this.bind(0, texture, gl.LINEAR, gl.LINEAR_MIPMAP_LINEAR);
		gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
		gl.generateMipmap(gl.TEXTURE_2D);
		bitmap.close();
		return texture;
	}

	/** Draw the layers in the order in which they were set; after from the column `split` on. */
	draw(view, split) {
		const { gl } = this;
		const { width, height } = this.canvas;
		gl.viewport(0, 0, width, height);
		gl.clear(gl.COLOR_BUFFER_BIT);
		for (const { before, after, part } of this.layers.values()) {
			const [left, top] = [view.x + view.scale * part.left, view.y + view.scale * part.top];
			const [right, bottom] = [left + view.scale * part.width, top + view.scale * part.height];
			gl.uniform4f(this.place, left / width, top / height, right / width, bottom / height);
			gl.uniform1f(this.split, after ? split : width + 1);
			[before, after ?? before].forEach((texture, unit) =>
				this.bind(unit, texture, view.scale < SHARP_FROM ? gl.LINEAR : gl.NEAREST, gl.LINEAR_MIPMAP_LINEAR),
			);
			gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
		}
	}
}
