// Lines for the host's log, which limits their rate. In the author's own tests they go to standard error.

let write = (level, message) => console.error(`${level}: ${message}`);

/** Sends lines elsewhere: a component puts the host's log here. */
export function setLog(to) {
  write = to;
}

/** The host's log. */
export const log = {
  debug: (message) => write("debug", String(message)),
  info: (message) => write("info", String(message)),
  warn: (message) => write("warn", String(message)),
  error: (message) => write("error", String(message)),
};
