/* Paints masks over a frame pixel by pixel; what a view paints in which colour comes from the kernel (viz.MASK_VIEWS).
 * A mask is packed bits: rows of ceil(width / 8) bytes, the leftmost pixel in the highest bit. All is done on bytes as
 * far as it goes: a pane of 640x360 takes 1 ms. */

const REGIONS = {
  mask: ({ mask }) => mask,
  both: ({ mask, base }) => joined(mask, base, 0, 0),
  more: ({ mask, base }) => joined(mask, base, 0, 255),
  less: ({ mask, base }) => joined(mask, base, 255, 0),
  leak: ({ leak }) => leak,
};

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

  /** Repaint.  view: {layers: [{region, colour: [r, g, b], opacity}], outlined}.  masks: {mask, base, leak}, packed
   * bits, the last two only where the view needs them. */
  paint(view, masks, shrink) {
    if (shrink !== this.shrink) this.resize(shrink);
    const { width } = this.canvas;
    const before = this.rows;
    this.pixels.fill(0, before[0] * width, before[1] * width);
    this.rows = [this.canvas.height, 0]; // first, one past the last that holds anything
    for (const { region, colour, opacity } of view.layers) {
      const bits = this.pooled(REGIONS[region](masks));
      this.fill(bits, rgba(colour, opacity));
      if (view.outlined) this.fill(edge(bits, width), rgba(colour, 1));
    }
    if (this.rows[0] >= this.rows[1]) this.rows = [0, 0];
    const context = this.canvas.getContext("2d");
    for (const [first, end] of [before, this.rows]) {
      if (end > first) context.putImageData(this.image, 0, 0, 0, first, width, end - first);
    }
  }

  resize(shrink) {
    this.shrink = shrink;
    const width = (this.canvas.width = Math.ceil(this.clip.width / shrink));
    const height = (this.canvas.height = Math.ceil(this.clip.height / shrink));
    this.stride = Math.ceil(width / 8);
    this.image = new ImageData(width, height);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.rows = [0, 0];
  }

  /** Packed bits of the canvas's size: one is set where any is that falls on it. */
  pooled(bits) {
    const { shrink, stride } = this;
    if (shrink === 1) return bits;
    const from = Math.ceil(this.clip.width / 8);
    const out = new Uint8Array(stride * this.canvas.height);
    for (let y = 0, i = 0; y < this.clip.height; y++) {
      const row = Math.floor(y / shrink) * stride;
      for (let byte = 0; byte < from; byte++, i++) {
        if (!bits[i]) continue;
        for (let x = byte * 8, bit = 128; bit; x++, bit >>= 1) {
          if (!(bits[i] & bit)) continue;
          const at = (x / shrink) | 0;
          out[row + (at >> 3)] |= 128 >> (at & 7);
        }
      }
    }
    return out;
  }

  fill(bits, colour) {
    const { pixels, rows, stride } = this;
    const { width, height } = this.canvas;
    for (let y = 0, i = 0; y < height; y++) {
      for (let byte = 0; byte < stride; byte++, i++) {
        if (!bits[i]) continue;
        if (y < rows[0]) rows[0] = y;
        if (y >= rows[1]) rows[1] = y + 1;
        for (let p = y * width + byte * 8, bit = 128; bit; p++, bit >>= 1) if (bits[i] & bit) pixels[p] = colour;
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

/** The pixels of a mask next to one that is outside of it; the image's border is no edge. */
function edge(bits, width) {
  const stride = Math.ceil(width / 8);
  const spare = width % 8 ? 255 >> width % 8 : 0; // bits of a row's last byte that are no pixels
  const out = new Uint8Array(bits.length);
  for (let i = 0; i < bits.length; i++) {
    const here = bits[i];
    if (!here) continue;
    const column = i % stride;
    const left = (here >> 1) | ((column > 0 ? bits[i - 1] << 7 : 128) & 128);
    const right = column < stride - 1 ? (here << 1) | (bits[i + 1] >> 7) : ((here | spare) << 1) | 1;
    const above = i >= stride ? bits[i - stride] : 255;
    const below = i + stride < bits.length ? bits[i + stride] : 255;
    out[i] = here & ~(left & right & above & below);
  }
  return out;
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
