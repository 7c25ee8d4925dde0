import assert from "node:assert/strict";
import { test } from "node:test";

import { run } from "millrace-sdk/testing";
import { deviceFingerprint } from "./device_fingerprint.ts";

const AGENTS = {
  chrome: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
  updated: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/121.0.0.0 Safari/537.36",
  edge: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36 Edg/120.0.0.0",
  safari: "Mozilla/5.0 (iPhone; CPU iPhone OS 17_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.2 Mobile/15E148 Safari/604.1",
  tablet: "Mozilla/5.0 (Linux; Android 13; SM-X700) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/23.0 Chrome/115.0.0.0 Safari/537.36",
  phone: "Mozilla/5.0 (Android 14; Mobile; rv:121.0) Gecko/121.0 Firefox/121.0",
  bot: "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
};

const agents = (texts: (string | null)[], options = {}) =>
  run(deviceFingerprint, texts.map((user_agent) => ({ user_agent, language: "de-CH,de;q=0.9", screen: "1920x1080" })), { options }).rows;

test("user agents are told apart", () => {
  const shown = agents(Object.values(AGENTS)).map(({ browser, version, system, kind }) => `${browser} ${version} ${system} ${kind}`);
  assert.deepEqual(shown, [
    "chrome 120 windows desktop",
    "chrome 121 windows desktop",
    "edge 120 windows desktop",
    "safari 17 ios phone",
    "samsung 23 android tablet",
    "firefox 121 android phone",
    "other null other bot",
  ]);
});

test("an update is no new device, unless it is to be one", () => {
  const devices = (options: object) => agents([AGENTS.chrome, AGENTS.updated, AGENTS.edge], options).map(({ device }) => device);
  const [chrome, updated, edge] = devices({});
  assert.equal(chrome, updated);
  assert.notEqual(chrome, edge);
  const [one, other] = devices({ versions: true });
  assert.notEqual(one, other);
  assert.match(chrome, /^[0-9a-f]{16}$/);
});

test("nothing known is a device too", () => {
  const [none, empty] = run(deviceFingerprint, [{}, { user_agent: "", language: "", screen: "" }]).rows;
  assert.deepEqual(none, empty);
  assert.deepEqual([none!.kind, none!.version], ["other", null]);
});

test("language and screen are part of it", () => {
  const rows = [{ language: "de-CH,de;q=0.9" }, { language: "DE-ch; q=1" }, { language: "fr" }, { language: "fr", screen: "1x1" }];
  const devices = run(deviceFingerprint, rows).rows.map(({ device }) => device);
  assert.equal(devices[0], devices[1]);
  assert.equal(new Set(devices).size, 3);
});
