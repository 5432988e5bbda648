// A zip archive that stores (pictures are compressed already), up to LARGEST: PKWARE's APPNOTE 6.3.10, names in UTF-8.

const CRC = Uint32Array.from({ length: 256 }, (_, byte) => {
	for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? (byte >>> 1) ^ 0xedb88320 : byte >>> 1;
	return byte;
});
export const LARGEST = 4e9; // bytes, a little less than what an offset holds
const UTF8 = 1 << 11;

/** CRC-32 of bytes that follow others whose CRC-32 is `crc`. */
export function crc32(bytes, crc = 0) {
	crc = ~crc;
	for (let i = 0; i < bytes.length; i++) crc = CRC[(crc ^ bytes[i]) & 255] ^ (crc >>> 8);
	return ~crc >>> 0;
}

/** Little-endian numbers by a plan such as "242", the bytes of each. */
function pack(plan, ...numbers) {
	return Uint8Array.from(
		[...plan].flatMap((length, field) => {
			const number = BigInt(numbers[field]);
			return Array.from({ length: Number(length) }, (_, byte) => Number((number >> BigInt(8 * byte)) & 255n));
		}),
	);
}

const join = (...parts) => Uint8Array.from(parts.flatMap((part) => [...part]));

/** What local and central headers share; the time is MS-DOS's, in steps of two seconds. */
function shared({ name, size, crc, date }) {
	const time = (date.getHours() << 11) | (date.getMinutes() << 5) | (date.getSeconds() >> 1);
	const day = ((date.getFullYear() - 1980) << 9) | ((date.getMonth() + 1) << 5) | date.getDate();
	return pack("222244422", UTF8, 0, time, day, crc, size, size, name.length, 0);
}

const centralHeader = (entry) =>
	join(pack("422", 0x02014b50, 20, 20), shared(entry), pack("22244", 0, 0, 0, 0, entry.offset), entry.name);

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
		const count = this.entries.length;
		await this.write(join(headers, pack("42222442", 0x06054b50, 0, 0, count, count, headers.length, this.offset, 0)));
	}
}
