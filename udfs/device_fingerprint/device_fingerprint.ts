// What a request's headers say about the device behind it, and one short name for devices that look alike.

import { option, t, transform } from "millrace-sdk";

/** What a pattern finds in a user agent, in the order in which they are tried: browsers claim to be each other. */
const BOTS = /bot|crawl|spider|slurp|curl\/|wget\/|python-requests|headless|phantomjs/i;
const BROWSERS: [string, RegExp][] = [
  ["edge", /Edg(?:e|A|iOS)?\/(\d+)/],
  ["opera", /(?:OPR|Opera)\/(\d+)/],
  ["samsung", /SamsungBrowser\/(\d+)/],
  ["firefox", /(?:Firefox|FxiOS)\/(\d+)/],
  ["chrome", /(?:Chrome|CriOS)\/(\d+)/],
  ["safari", /Version\/(\d+)[^ ]* .*Safari\//],
  ["ie", /(?:MSIE |Trident\/.*rv:)(\d+)/],
];
const SYSTEMS: [string, RegExp][] = [
  ["ios", /iPhone|iPad|iPod/],
  ["android", /Android/],
  ["windows", /Windows/],
  ["macos", /Mac OS X|Macintosh/],
  ["chromeos", /CrOS/],
  ["linux", /Linux|X11/],
];
const PHONE = /iPhone|iPod|Mobile|Windows Phone/;
const TABLET = /iPad|Tablet|Android(?!.*Mobile)/;

interface Agent {
  browser: string;
  version: bigint | null;
  system: string;
  kind: string;
}

/** What a user agent says of itself. */
const read = (text: string): Agent => {
  const [browser, version] = BROWSERS.map(([name, pattern]) => [name, pattern.exec(text)?.[1]]).find(([, found]) => found) ?? ["other", undefined];
  const system = SYSTEMS.find(([, pattern]) => pattern.test(text))?.[0] ?? "other";
  const kind = BOTS.test(text) ? "bot" : TABLET.test(text) ? "tablet" : PHONE.test(text) ? "phone" : system === "other" ? "other" : "desktop";
  return { browser: browser!, version: version ? BigInt(version) : null, system, kind };
};

/** 64 bits of FNV-1a over UTF-16, in hexadecimal: two halves, so that no bigint is needed for each letter. */
const fingerprint = (text: string): string => {
  let [high, low] = [0xcbf29ce4, 0x84222325];
  for (let at = 0; at < text.length; at += 1) {
    low = (low ^ text.charCodeAt(at)) >>> 0;
    // The prime is 2^40 + 0x1b3.
    const product = low * 0x1b3;
    high = (Math.imul(high, 0x1b3) + (low << 8) + Math.floor(product / 2 ** 32)) >>> 0;
    low = product >>> 0;
  }
  return high.toString(16).padStart(8, "0") + low.toString(16).padStart(8, "0");
};

export const deviceFingerprint = transform({
  input: { user_agent: t.utf8.nullable, language: t.utf8.nullable, screen: t.utf8.nullable },
  output: { device: t.utf8, browser: t.utf8, version: t.int64.nullable, system: t.utf8, kind: t.utf8 },
  options: { versions: option.boolean(false) },
  row: ({ user_agent, language, screen }, { versions }) => {
    const { browser, version, system, kind } = read((user_agent ?? "").slice(0, 1024));
    // A browser's update is no new device, unless it is to be one.
    const parts = [browser, versions ? version : null, system, kind, language?.split(/[,;]/)[0]?.trim().toLowerCase(), screen];
    return { device: fingerprint(parts.map((part) => part ?? "").join("\n")), browser, version, system, kind };
  },
});
