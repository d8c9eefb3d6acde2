/* Images of frames in the browser: asked for when needed, the newest request first, neighbours when nothing is to do.

   const store = new FrameStore(link, clip)           clip: { frames, height, width, fps }
   store.wish(owner, t, layers, width)                what a view wants to show now, `width` pixels wide
   store.peek(t, layer, width) -> ImageBitmap or null; where it is not there: of another width, else as it was before
   store.has(t, layer)                                whether it is there as it is now, in whatever width
   store.arrived = (t) => …                           called whenever images of a frame arrive
   One message asks for all layers that the views want of a frame. At most two messages are under way, so that the
   newest wish is the next to be asked for; ImageBitmaps are kept up to BITMAP_BYTES, the oldest go first. */

const BITMAP_BYTES = 200 * 2 ** 20;
const UNDER_WAY = 2;
const AHEAD = 16; // frames fetched in the direction of the last move when idle; half as many on the other side
const SILENCE_MS = 20000; // after that a message is taken for lost

export class FrameStore {
  constructor(link, clip) {
    this.link = link;
    this.clip = clip;
    this.wishes = new Map();
    this.bitmaps = new Map(); // key -> { bitmap, bytes }, the one used last at the end
    this.bytes = 0;
    this.asked = new Map(); // id -> { keys, timer }
    this.versions = {};
    this.warm = new Set(); // keys that the kernel holds coded
    this.name = Math.random().toString(36).slice(2);
    this.count = 0;
    this.direction = 1;
    this.idle = false; // whether the rest of the clip is made ready in the kernel too
    this.arrived = () => {};
    link.on("frames", (message, buffers) => this.take(message, buffers));
    link.on("error", (message) => this.drop(message.id));
    link.on("stale", (message) => this.forget(message.layers, message.frames));
  }

  wish(owner, t, layers, width) {
    const before = this.wishes.get(owner);
    if (before && before.t !== t) this.direction = t > before.t ? 1 : -1;
    this.wishes.set(owner, { t, layers, width });
    this.pump();
  }

  peek(t, layer, width) {
    const key = this.key(t, layer, width);
    const exact = this.bitmaps.get(key);
    if (exact) {
      this.bitmaps.delete(key);
      this.bitmaps.set(key, exact);
      return exact.bitmap;
    }
    return this.find(this.now(t, layer)) ?? this.find(`${t}|${layer}|`) ?? null;
  }

  has(t, layer) {
    return Boolean(this.find(this.now(t, layer)));
  }

  find(start) {
    let found;
    for (const [key, { bitmap }] of this.bitmaps) if (key.startsWith(start)) found = bitmap;
    return found;
  }

  now(t, layer) {
    return `${t}|${layer}|${this.versions[layer] ?? 0}.${this.versions[`${t}|${layer}`] ?? 0}|`;
  }

  key(t, layer, width) {
    return `${this.now(t, layer)}${width}`;
  }

  forget(layers, frames) {
    for (const layer of layers) {
      const names = frames ? frames.map((t) => `${t}|${layer}`) : [layer];
      for (const name of names) this.versions[name] = (this.versions[name] ?? 0) + 1;
    }
    this.warm.clear();
    this.pump();
  }

  pump() {
    while (this.asked.size < UNDER_WAY) {
      const next = this.missing((t) => t) ?? (this.asked.size ? null : this.neighbours());
      if (!next) return;
      this.ask(next);
    }
  }

  missing(place, warm = false) {
    const under = new Set([...this.asked.values()].flatMap(({ keys }) => keys));
    let found = null;
    for (const wish of this.wishes.values()) {
      const t = place(wish.t);
      if (t < 0 || t >= this.clip.frames || (found && (found.t !== t || found.width !== wish.width))) continue;
      const layers = wish.layers.filter((layer) => {
        const key = this.key(t, layer, wish.width);
        return !this.bitmaps.has(key) && !under.has(key) && !(warm && this.warm.has(key));
      });
      if (!layers.length) continue;
      found ??= { t, width: wish.width, layers: [], warm };
      found.layers.push(...layers.filter((layer) => !found.layers.includes(layer)));
    }
    return found;
  }

  neighbours() {
    for (let step = 1; step <= AHEAD; step++) {
      const found = this.missing((t) => t + step * this.direction)
        ?? (step * 2 <= AHEAD ? this.missing((t) => t - step * this.direction) : null);
      if (found) return found;
    }
    // the whole clip, farther and farther away: coded in the kernel, not sent
    for (let step = AHEAD; this.idle && step < this.clip.frames; step++) {
      const found = this.missing((t) => t + step, true) ?? this.missing((t) => t - step, true);
      if (found) return found;
    }
    return null;
  }

  ask({ t, layers, width, warm }) {
    const id = `${this.name}:${this.count++}`;
    const keys = layers.map((layer) => this.key(t, layer, width));
    this.asked.set(id, { keys, warm, timer: setTimeout(() => this.drop(id), SILENCE_MS) });
    this.link.tell("frames", { id, t, layers, width, ...(warm ? { warm } : {}) });
  }

  drop(id) {
    const asked = this.asked.get(id);
    if (!asked) return;
    clearTimeout(asked.timer);
    this.asked.delete(id);
  }

  async take({ id, t, layers, width }, buffers) {
    const asked = this.asked.get(id);
    if (!asked) return; // another view's
    if (asked.warm) {
      asked.keys.forEach((key) => this.warm.add(key));
      this.drop(id);
      setTimeout(() => this.pump(), 20); // a pause: the machine has other things to do
      return;
    }
    const made = await Promise.all(buffers.map((buffer) => createImageBitmap(new Blob([buffer]))));
    made.forEach((bitmap, i) => this.keep(asked.keys[i], bitmap));
    this.drop(id);
    this.arrived(t, layers, width);
    this.pump();
  }

  keep(key, bitmap) {
    const bytes = bitmap.width * bitmap.height * 4;
    this.bitmaps.set(key, { bitmap, bytes });
    this.bytes += bytes;
    for (const [oldest, held] of this.bitmaps) {
      if (this.bytes <= BITMAP_BYTES) break;
      this.bitmaps.delete(oldest);
      this.bytes -= held.bytes;
      held.bitmap.close();
    }
  }

  leave(owner) {
    this.wishes.delete(owner);
  }

  close() {
    this.asked.forEach(({ timer }) => clearTimeout(timer));
    this.bitmaps.forEach(({ bitmap }) => bitmap.close());
    this.bitmaps.clear();
    this.wishes.clear();
  }
}
