// `tty` of Node.js: there is none.

export const isatty = () => false;
export default { isatty };
