// `os` of Node.js: a service sees the node, not the machine.

export const EOL = "\n";
export const platform = () => "wasi";
export const type = () => "WASI";
export const arch = () => "wasm32";
export const release = () => "0.2";
export const hostname = () => globalThis.process.env.HOSTNAME || "isomer";
export const homedir = () => "/";
export const tmpdir = () => "/tmp";
export const endianness = () => "LE";
export const cpus = () => [];
export const availableParallelism = () => 1;
export const loadavg = () => [0, 0, 0];
export const totalmem = () => 0;
export const freemem = () => 0;
export const uptime = () => globalThis.process.uptime();
export const networkInterfaces = () => ({});
export const userInfo = () => ({ username: "isomer", uid: -1, gid: -1, shell: null, homedir: "/" });
export const constants = { signals: {}, errno: {} };

export default {
	EOL, platform, type, arch, release, hostname, homedir, tmpdir, endianness, cpus, availableParallelism, loadavg,
	totalmem, freemem, uptime, networkInterfaces, userInfo, constants
};
