// The globals for aborting and for events; bundled only for services that name them.

export { AbortController, AbortSignal } from "abort-controller";
export { EventTarget } from "event-target-shim";
