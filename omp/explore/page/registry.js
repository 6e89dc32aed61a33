// The places of the registry, kept up to date by its change feed (mrs §11.2).

import { askJson } from "./ask.js";

const PAGE = 5000;

const places = new Map(); // origin and id there → registration
let cursor = "";

/** Where in the change feed this page is: it is another one as soon as something has changed. */
export const feedPosition = () => cursor;

const nameOf = (one) => `${one.origin_server} ${one.origin_id}`;

/** Every registration that the server has now. What has changed since the last call is all that is asked for. */
export async function currentPlaces() {
  for (let told = 1; told;) {
    const page = await askJson(`/sync/changes?limit=${PAGE}&since=${encodeURIComponent(cursor)}`);
    for (const one of page.registrations) places.set(nameOf(one), one);
    for (const one of page.tombstones) places.delete(nameOf(one));
    told = page.registrations.length + page.tombstones.length;
    cursor = page.next_cursor;
  }
  return [...places.values()];
}
