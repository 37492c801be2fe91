// Look-up tables: HU to grey, and signed map values to colours that people with colour vision deficiency distinguish.

export const WINDOWS = [
  { id: "lung", name: "Lung", low: -1400, high: 200 },
  { id: "low", name: "Low", low: -1400, high: -950 },
  { id: "high", name: "High", low: -160, high: 240 },
  { id: "custom", name: "Custom", low: -1350, high: 150 },
];

export const FOR = [230, 97, 1];
export const AGAINST = [44, 123, 182];
export const OUTLINES = ["#56b4e9", "#f0a500", "#ff7ac6", "#2fd6a0"]; // as in the report

// 65,536 packed RGBA values, indexed by the bits of an int16 HU.
export function greys(low, high) {
  const table = new Uint32Array(65536);
  for (let hu = -32768; hu < 32768; hu++) {
    const grey = Math.round((255 * Math.min(Math.max(hu - low, 0), high - low)) / (high - low));
    table[hu & 0xffff] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
  }
  return table;
}

// 256 packed RGBA values, indexed by the bits of an int8: the colour shows the sign, the opacity the magnitude.
export function diverging() {
  const table = new Uint32Array(256);
  for (let value = -128; value < 128; value++) {
    const [red, green, blue] = value > 0 ? FOR : AGAINST;
    const alpha = Math.round((255 * Math.min(Math.abs(value), 127)) / 127);
    table[value & 0xff] = (alpha << 24) | (blue << 16) | (green << 8) | red;
  }
  return table;
}
