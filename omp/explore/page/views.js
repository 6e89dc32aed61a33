// The views. A view that has no row here has no link anywhere.

/** The first part of the address → the module that fills the view, and its name in the navigation, if it stands there. */
export const VIEWS = {
  "": { module: "./front.js", name: "Overview" },
  logs: { module: "./logs.js", name: "Logs" },
  log: { module: "./log.js" },
  replicas: { module: "./replicas.js", name: "Replicas" },
  objects: { module: "./objects.js", name: "Objects" },
  object: { module: "./objects.js" },
  places: { module: "./places.js", name: "Places" },
  vault: { module: "./vault.js", name: "Vault" },
  profile: { module: "./profile.js", name: "Profile" },
  key: { module: "./reader.js", name: "Key" },
};
