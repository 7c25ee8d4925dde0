// Of Node, what tests use: its own types are not fetched for that.

declare module "node:assert/strict" {
  const assert: any;
  export default assert;
}

declare module "node:test" {
  export function test(name: string, body: () => void): void;
}
