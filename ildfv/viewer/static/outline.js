// The outlines of a label map as paths along the edges of pixels, one per pattern.

export function outlines(labels, rows, columns, patterns) {
  const paths = Array.from({ length: patterns }, () => null);
  const at = (y, x) => (y < 0 || x < 0 || y >= rows || x >= columns ? 0 : labels[y * columns + x]);
  const line = (label, x0, y0, x1, y1) => {
    if (!label || label > patterns) return;
    const path = (paths[label - 1] ??= new Path2D());
    path.moveTo(x0, y0);
    path.lineTo(x1, y1);
  };
  // Adjacent edges of equal labels are joined, because long lines are drawn ten times as fast as single edges.
  for (let y = 0; y <= rows; y++) {
    for (const side of [-1, 0]) {
      let start = 0;
      let label = 0;
      for (let x = 0; x <= columns; x++) {
        const own = x < columns ? at(y + side, x) : 0;
        const now = own && own !== at(y - 1 - side, x) ? own : 0;
        if (now !== label) {
          line(label, start, y, x, y);
          [start, label] = [x, now];
        }
      }
    }
  }
  for (let x = 0; x <= columns; x++) {
    for (const side of [-1, 0]) {
      let start = 0;
      let label = 0;
      for (let y = 0; y <= rows; y++) {
        const own = y < rows ? at(y, x + side) : 0;
        const now = own && own !== at(y, x - 1 - side) ? own : 0;
        if (now !== label) {
          line(label, x, start, x, y);
          [start, label] = [y, now];
        }
      }
    }
  }
  return paths;
}
