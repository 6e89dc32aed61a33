// Geometry on the earth as a sphere (mrs §5), and how it is drawn.
//
// A place is a vector of length 1 from the centre of the earth. So the poles and the antimeridian are places like all
// others, and nothing here knows of them. The earth is shown as it looks from afar (an orthographic projection, which is
// azimuthal): what is in the middle has its true shape and size, what is behind the horizon is not seen.

export const RADIUS = 6_371_000; // metres, mrs §5.2

export const radians = (degrees) => (degrees * Math.PI) / 180;
export const degrees = (angle) => (angle * 180) / Math.PI;
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const plus = (a, x, b, y) => [a[0] * x + b[0] * y, a[1] * x + b[1] * y, a[2] * x + b[2] * y];
const unit = (a) => plus(a, 1 / Math.hypot(...a), a, 0);

export function vector({ lat, lon }) {
  const [phi, lambda] = [radians(lat), radians(lon)];
  return [Math.cos(phi) * Math.cos(lambda), Math.cos(phi) * Math.sin(lambda), Math.sin(phi)];
}

export const position = ([x, y, z]) => ({ lat: degrees(Math.atan2(z, Math.hypot(x, y))), lon: degrees(Math.atan2(y, x)) });

/** Two vectors that, with `up`, stand at right angles: where east and north are. At a pole every direction will do. */
function directions(up) {
  const east = Math.hypot(up[0], up[1]) < 1e-12 ? [0, 1, 0] : unit([-up[1], up[0], 0]);
  return {
    east,
    north: [up[1] * east[2] - up[2] * east[1], up[2] * east[0] - up[0] * east[2], up[0] * east[1] - up[1] * east[0]],
  };
}

/** The points of a circle of `radius` metres around a vector. */
export function circle(center, radius, points = 180) {
  const { east, north } = directions(center);
  const angle = radius / RADIUS;
  return Array.from({ length: points }, (_, at) => {
    const turn = (2 * Math.PI * at) / points;
    return plus(center, Math.cos(angle), plus(east, Math.cos(turn), north, Math.sin(turn)), Math.sin(angle));
  });
}

/** Vertices with so many points between them that the edges bend as great circles do (mrs §5.4). */
export function outline(vertices) {
  return vertices.flatMap((one, at) => {
    const next = vertices[(at + 1) % vertices.length];
    const angle = Math.acos(Math.max(-1, Math.min(1, dot(one, next))));
    const pieces = Math.max(1, Math.ceil(angle / 0.03));
    return Array.from({ length: pieces }, (_, piece) => unit(plus(one, 1 - piece / pieces, next, piece / pieces)));
  });
}

/** The middle of some vectors, and how far the farthest is from it, in metres. */
export function around(vectors) {
  const sum = vectors.reduce((one, other) => plus(one, 1, other, 1), [0, 0, 0]);
  const middle = Math.hypot(...sum) < 1e-12 ? vectors[0] : unit(sum);
  const reach = Math.max(...vectors.map((one) => 2 * Math.asin(Math.min(1, Math.hypot(...plus(one, 1, middle, -1)) / 2))));
  return { middle, reach: reach * RADIUS };
}

/** The earth, seen from above a point. `scale` is in pixels for the radius of the earth. */
export class Outlook {
  constructor(center, scale, width, height) {
    Object.assign(this, { center, scale, width, height, ...directions(center) });
  }

  /** [x, y, depth]: pixels from the left and from the top, and whether it is in front of the horizon (depth > 0). */
  project(place) {
    return [
      this.width / 2 + this.scale * dot(place, this.east),
      this.height / 2 - this.scale * dot(place, this.north),
      dot(place, this.center),
    ];
  }

  /** The place that is seen at a point of the picture, or null. */
  placeAt(x, y) {
    const [right, up] = [(x - this.width / 2) / this.scale, (this.height / 2 - y) / this.scale];
    const depth = 1 - right * right - up * up;
    return depth < 0 ? null : unit(plus(plus(this.east, right, this.north, up), 1, this.center, Math.sqrt(depth)));
  }

  /** Whether a projected point is in the picture, or at most `margin` pixels beside it. */
  holds([x, y, depth], margin = 0) {
    return depth > 0 && x > -margin && y > -margin && x < this.width + margin && y < this.height + margin;
  }

  /**
   * A line as the path of an SVG: what is behind the horizon is left out, and of an open line also what is beside the
   * picture. A closed one stays whole, since it is filled.
   */
  path(line, isClosed = false) {
    const parts = [];
    let pen = null; // the point before, and whether it is drawn already
    for (const place of isClosed ? [...line, line[0]] : line) {
      const point = this.project(place);
      if (pen && pen.point[2] > 0 && point[2] > 0 && (isClosed || this.#crosses(pen.point, point))) {
        if (!pen.drawn) parts.push(`M${rounded(pen.point)}`);
        parts.push(`L${rounded(point)}`);
        pen = { point, drawn: true };
      } else {
        pen = { point, drawn: false };
      }
    }
    return parts.join("");
  }

  /** Whether the line between two points may be in the picture: they are not both beyond one of its sides. */
  #crosses([x, y], [x2, y2]) {
    return !(
      (x < 0 && x2 < 0) ||
      (y < 0 && y2 < 0) ||
      (x > this.width && x2 > this.width) ||
      (y > this.height && y2 > this.height)
    );
  }
}

const rounded = ([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`;
