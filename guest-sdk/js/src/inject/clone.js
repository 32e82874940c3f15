// The global structuredClone; bundled only for services that name it.

export { default as structuredClone } from "core-js-pure/stable/structured-clone";
