/* Masks in the browser: fetched once per variant as deflated bits (3 kB a frame of 1280x720), inflated for the frames around.

   const store = new MaskStore(link, frames)    frames: how many the clip has
   store.need(t, keys) -> bool                  whether all are there, else they are fetched; keys: ["mask|snap:16", "leak|snap:16", …]
   store.bits(t, key) -> Uint8Array             packed bits; after `need` said so
   store.arrived = () => …                      called when something has come */

const INFLATED_BYTES = 64 * 2 ** 20;
const SOON = 4; // frames made ready ahead of the one that is needed

export class MaskStore {
  constructor(link, frames) {
    this.link = link;
    this.frames = frames;
    this.coded = new Map(); // key -> Map of frame -> deflated bits
    this.inflated = new Map(); // "t|key" -> packed bits, the one used last at the end
    this.bytes = 0;
    this.asked = new Set();
    this.opening = new Set();
    this.direction = 1;
    this.arrived = () => {};
    link.on("masks", (message, buffers) => this.take(message, buffers));
    link.on("error", () => this.asked.clear());
  }

  need(t, keys) {
    const ready = keys.map((key) => this.open(t, key)).every(Boolean);
    if (!ready) return false;
    if (this.last !== undefined && this.last !== t) this.direction = t > this.last ? 1 : -1;
    this.last = t;
    for (let step = 1; step <= SOON; step++) {
      const next = t + step * this.direction;
      for (const key of keys) if (this.coded.get(key)?.has(next)) this.open(next, key);
    }
    return true;
  }

  bits(t, key) {
    return this.inflated.get(`${t}|${key}`);
  }

  open(t, key) {
    const place = `${t}|${key}`;
    const found = this.inflated.get(place);
    if (found) {
      this.inflated.delete(place);
      this.inflated.set(place, found);
      return true;
    }
    const coded = this.coded.get(key)?.get(t);
    if (coded) this.inflate(place, coded);
    else this.ask(t, key);
    return false;
  }

  ask(t, key) {
    if (this.asked.has(key)) return;
    this.asked.add(key);
    const [what, name] = split(key);
    this.link.tell("masks", { what, name, t });
  }

  take({ what, name, first, sizes }, [buffer]) {
    const key = `${what}|${name}`;
    const bytes = new Uint8Array(buffer.buffer ?? buffer, buffer.byteOffset ?? 0, buffer.byteLength);
    const frames = this.coded.get(key) ?? new Map();
    let start = 0;
    sizes.forEach((size, i) => {
      frames.set(first + i, bytes.subarray(start, start + size));
      start += size;
    });
    this.coded.set(key, frames);
    this.asked.delete(key);
    this.arrived();
  }

  async inflate(place, coded) {
    if (this.opening.has(place)) return;
    this.opening.add(place);
    const inflater = new DecompressionStream("deflate");
    const writer = inflater.writable.getWriter();
    writer.write(coded);
    writer.close();
    const bits = new Uint8Array(await new Response(inflater.readable).arrayBuffer());
    this.opening.delete(place);
    this.inflated.set(place, bits);
    this.bytes += bits.length;
    for (const oldest of this.inflated.keys()) {
      if (this.bytes <= INFLATED_BYTES) break;
      this.remove(oldest);
    }
    this.arrived();
  }

  remove(place) {
    this.bytes -= this.inflated.get(place).length;
    this.inflated.delete(place);
  }
}

function split(key) {
  const at = key.indexOf("|"); // chains hold no "|", and the kind comes first
  return [key.slice(0, at), key.slice(at + 1)];
}
