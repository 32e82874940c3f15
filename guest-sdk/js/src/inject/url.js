// The globals URL and URLSearchParams; bundled only for services that name them.

export { default as URL } from "core-js-pure/stable/url";
export { default as URLSearchParams } from "core-js-pure/stable/url-search-params";
