"use strict";
// Cannot be a component as it is: it reads files. With `--stub fs` it can, until it does.

const fs = require("fs");

module.exports = { name: "files", actions: { read: () => fs.readFileSync("/etc/hostname", "utf8") } };
