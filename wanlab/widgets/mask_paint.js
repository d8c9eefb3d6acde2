/* Paints masks over a frame pixel by pixel; what a view paints in which colour comes from the kernel (viz.MASK_VIEWS).
 * A mask is packed bits: rows of ceil(width / 8) bytes, the leftmost pixel in the highest bit. */

const REGIONS = {
  mask: ({ mask }) => mask,
  both: ({ mask, base }) => joined(mask, base, 0, 0),
  more: ({ mask, base }) => joined(mask, base, 0, 255),
  less: ({ mask, base }) => joined(mask, base, 255, 0),
  leak: ({ leak }) => leak,
};
const OUTLINE = 255; // class of a pixel on the mask's outline; layers are 1, 2, …

/** How many pixels of the clip fall on one that is shown, whole and at least 1; `scale`: shown pixels per clip pixel. */
export function shrinkOf(scale) {
  return Math.max(1, Math.floor(1 / scale + 0.01));
}

/** What the view reads beside the mask: "base", "leak". */
export function extras(view) {
  const named = { both: "base", more: "base", less: "base", leak: "leak" };
  return [...new Set(view.layers.map((layer) => named[layer.region]).filter(Boolean))];
}

/** A view's layers as a canvas, `shrink` times smaller than the clip.
 *
 * Where several pixels fall on one, the last layer among them wins, so that a fringe of one pixel stays visible. */
export class MaskLayer {
  constructor(width, height) {
    this.clip = { width, height };
    this.canvas = document.createElement("canvas");
    this.shrink = 0;
  }

  /** Paint anew.  view: {layers: [{region, colour: [r, g, b], opacity}], outlined}.  masks: {mask, base, leak}, packed
   * bits, the last two only where the view needs them. */
  paint(view, masks, shrink) {
    if (shrink !== this.shrink) this.resize(shrink);
    const { width, height } = this.canvas;
    const before = this.rows;
    this.classes.fill(0, before[0] * width, before[1] * width);
    this.pixels.fill(0, before[0] * width, before[1] * width);
    this.rows = [height, 0]; // first, one past the last that holds anything
    view.layers.forEach((layer, i) => this.mark(i + 1, REGIONS[layer.region](masks)));
    if (this.rows[0] >= this.rows[1]) this.rows = [0, 0];
    if (view.outlined) this.outline();
    const colours = new Uint32Array(256);
    view.layers.forEach((layer, i) => (colours[i + 1] = rgba(layer.colour, layer.opacity)));
    colours[OUTLINE] = rgba(view.layers[0].colour, 1);
    for (let p = this.rows[0] * width; p < this.rows[1] * width; p++) {
      if (this.classes[p]) this.pixels[p] = colours[this.classes[p]];
    }
    for (const [first, end] of [before, this.rows]) {
      if (end > first) this.canvas.getContext("2d").putImageData(this.image, 0, 0, 0, first, width, end - first);
    }
  }

  resize(shrink) {
    this.shrink = shrink;
    const width = (this.canvas.width = Math.ceil(this.clip.width / shrink));
    const height = (this.canvas.height = Math.ceil(this.clip.height / shrink));
    this.classes = new Uint8Array(width * height);
    this.image = new ImageData(width, height);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.rows = [0, 0];
  }

  mark(value, region) {
    const { classes, shrink, rows } = this;
    const stride = Math.ceil(this.clip.width / 8);
    const { width, height } = this.canvas;
    for (let row = 0; row < height; row++) {
      const start = row * width;
      const end = Math.min((row + 1) * shrink, this.clip.height) * stride;
      for (let byte = 0; byte < stride; byte++) {
        let bits = 0; // of the rows that fall on this one
        for (let i = row * shrink * stride + byte; i < end; i += stride) bits |= region[i];
        if (!bits) continue;
        if (row < rows[0]) rows[0] = row;
        if (row >= rows[1]) rows[1] = row + 1;
        for (let x = byte * 8, bit = 128; bit; x++, bit >>= 1) {
          if (bits & bit) classes[start + (shrink === 1 ? x : (x / shrink) | 0)] = value;
        }
      }
    }
  }

  outline() {
    const { classes } = this;
    const { width, height } = this.canvas;
    for (let y = this.rows[0]; y < this.rows[1]; y++) {
      for (let x = 0, p = y * width; x < width; x++, p++) {
        if (!classes[p]) continue;
        const open =
          (x > 0 && !classes[p - 1]) ||
          (x < width - 1 && !classes[p + 1]) ||
          (y > 0 && !classes[p - width]) ||
          (y < height - 1 && !classes[p + width]);
        if (open) classes[p] = OUTLINE;
      }
    }
  }
}

/** Grey and darken what is on the canvas as viz does, two thirds of its luminance. */
export function dim(context, x, y, width, height) {
  context.save();
  context.globalCompositeOperation = "saturation";
  context.fillStyle = "#808080";
  context.fillRect(x, y, width, height);
  context.globalCompositeOperation = "source-over";
  context.fillStyle = "rgb(0 0 0 / 33.3%)";
  context.fillRect(x, y, width, height);
  context.restore();
}

/** Bits that are in both, each turned over first where its `flip` is 255. */
function joined(mask, base, flipMask, flipBase) {
  const out = new Uint8Array(mask.length);
  for (let i = 0; i < out.length; i++) out[i] = (mask[i] ^ flipMask) & (base[i] ^ flipBase);
  return out;
}

function rgba([red, green, blue], opacity) {
  const bytes = new Uint8Array([red, green, blue, Math.round(opacity * 255)]);
  return new Uint32Array(bytes.buffer)[0];
}
