// A zip archive that stores (pictures are compressed already): PKWARE's APPNOTE 6.3.10, names in UTF-8, and zip64 where an
// offset or the count has no room otherwise. One picture has less than 4 GB.

const CRC = Uint32Array.from({ length: 256 }, (_, byte) => {
	for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? (byte >>> 1) ^ 0xedb88320 : byte >>> 1;
	return byte;
});
const UTF8 = 1 << 11;
const FULL = [0xffff, 0xffffffff]; // what stands in two and in four bytes where the number is in a zip64 field

/** CRC-32 of bytes that follow others whose CRC-32 is `crc`. */
function crc32(bytes, crc = 0) {
	crc = ~crc;
	for (let i = 0; i < bytes.length; i++) crc = CRC[(crc ^ bytes[i]) & 255] ^ (crc >>> 8);
	return ~crc >>> 0;
}

/** Little-endian numbers by a plan such as "242", the bytes of each. */
const pack = (plan, ...numbers) =>
	Uint8Array.from([...plan].flatMap((length, field) => Array.from({ length }, (_, byte) => Math.floor(numbers[field] / 256 ** byte) % 256)));
const join = (...parts) => Uint8Array.from(parts.flatMap((part) => [...part]));

/** What local and central headers share; the time is MS-DOS's, in steps of two seconds. */
function shared({ name, size, crc, date }, extra = 0) {
	const time = (date.getHours() << 11) | (date.getMinutes() << 5) | (date.getSeconds() >> 1);
	const day = ((date.getFullYear() - 1980) << 9) | ((date.getMonth() + 1) << 5) | date.getDate();
	return pack("222244422", UTF8, 0, time, day, crc, size, size, name.length, extra);
}

function centralHeader(entry) {
	const far = entry.offset >= FULL[1];
	const version = far ? 45 : 20;
	const extra = far ? pack("228", 1, 8, entry.offset) : [];
	const rest = pack("22244", 0, 0, 0, 0, Math.min(entry.offset, FULL[1]));
	return join(pack("422", 0x02014b50, version, version), shared(entry, extra.length), rest, entry.name, extra);
}

/** Writes an archive piece by piece to `write`, which takes bytes and blobs and may return a promise. */
export class ZipWriter {
	constructor(write) {
		this.write = write;
		this.entries = [];
		this.offset = 0;
	}

	async add(name, blob, date = new Date()) {
		let crc = 0;
		const reader = blob.stream().getReader();
		for (let part = await reader.read(); !part.done; part = await reader.read()) crc = crc32(part.value, crc);
		const entry = { name: new TextEncoder().encode(name), size: blob.size, crc, date, offset: this.offset };
		const header = join(pack("42", 0x04034b50, 20), shared(entry), entry.name);
		await this.write(header);
		await this.write(blob);
		this.entries.push(entry);
		this.offset += header.length + blob.size;
	}

	async close() {
		const headers = join(...this.entries.map(centralHeader));
		const [count, size, end] = [this.entries.length, headers.length, this.offset + headers.length];
		const zip64 = [
			pack("4822448888", 0x06064b50, 44, 45, 45, 0, 0, count, count, size, this.offset),
			pack("4484", 0x07064b50, 0, end, 1),
		];
		const few = Math.min(count, FULL[0]);
		const last = pack("42222442", 0x06054b50, 0, 0, few, few, size, Math.min(this.offset, FULL[1]), 0);
		await this.write(join(headers, ...(count >= FULL[0] || this.offset >= FULL[1] ? zip64 : []), last));
	}
}
