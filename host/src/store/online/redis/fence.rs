//! The fence of a row in Redis, and the Lua that compares and writes in one step.
//!
//! A fence is 24 bytes, big-endian: event time in microseconds with its sign bit flipped, term, sequence. Where it is known
//! when the row was created it is 32, with that after the event time, likewise; one without it is older than any with it,
//! as if the eight bytes were zero. So fences order as bytes do; Lua compares them in numbers of 32 bits, since its own
//! string order follows the server's locale and its numbers have 53 bits.

use std::sync::LazyLock;

use crate::time::Micros;

/// Makes `out` the bytes of a fence.
pub(super) fn put(out: &mut Vec<u8>, event_time: Micros, created: Option<Micros>, term: u64, sequence: u64) {
    let sortable = |time: Micros| time.cast_unsigned() ^ (1 << 63);
    let numbers = [Some(sortable(event_time)), created.map(sortable), Some(term), Some(sequence)];
    out.clear();
    numbers.into_iter().flatten().for_each(|number| out.extend_from_slice(&number.to_be_bytes()));
}

/// The same, by itself.
#[cfg(test)]
pub(super) fn bytes(event_time: Micros, created: Option<Micros>, term: u64, sequence: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, event_time, created, term, sequence);
    out
}

/// Takes a row in if it is newer than what is there.
///
/// KEYS: the entity. ARGV: the fence's field, the fence, the timestamp's field, the event time in whole seconds, the
/// expiry in milliseconds (0: none), the expiry of a hash that holds only deletions, then either `write`, the timestamp,
/// and field and value of each feature, or `delete` and the fields. Returns 1 where the row was taken in.
const UPSERT: &str = r"
local kept = redis.call('HMGET', KEYS[1], ARGV[1], ARGV[3])
local fence, stamp = kept[1], kept[2]

local function whole(short)
  if #short == 24 then return string.sub(short, 1, 8) .. string.rep('\0', 8) .. string.sub(short, 9) end
  return short
end

if fence and (#fence == 24 or #fence == 32) then
  local newer, known, new = false, whole(fence), whole(ARGV[2])
  for at = 1, 29, 4 do
    local theirs, ours = struct.unpack('>I4', known, at), struct.unpack('>I4', new, at)
    if theirs ~= ours then
      newer = ours > theirs
      break
    end
  end
  if not newer then return 0 end
end

-- Feast writes the timestamp without the fence: a later one is a newer row.
if stamp and string.byte(stamp, 1) == 8 then
  local seconds, scale = 0, 1
  for at = 2, #stamp do
    local byte = string.byte(stamp, at)
    if byte < 128 then
      seconds = seconds + byte * scale
      break
    end
    seconds = seconds + (byte - 128) * scale
    scale = scale * 128
  end
  if seconds < 9223372036854775808 and seconds > tonumber(ARGV[4]) then return 0 end
end

local left = redis.call('PTTL', KEYS[1])
local writes = ARGV[7] == 'write'
if writes then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2], ARGV[3], unpack(ARGV, 8))
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
  redis.call('HDEL', KEYS[1], ARGV[3], unpack(ARGV, 8))
end

local wanted = tonumber(ARGV[5])
if wanted == 0 then
  if writes then
    if left >= 0 then redis.call('PERSIST', KEYS[1]) end
  else
    for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
      if #field > 4 and string.sub(field, 1, 4) == '_ts:' then return 1 end
    end
    redis.call('PEXPIRE', KEYS[1], ARGV[6])
  end
elseif left == -2 or (left >= 0 and left < wanted) then
  redis.call('PEXPIRE', KEYS[1], wanted)
end
return 1
";

/// The script, with its digest.
pub(super) static SCRIPT: LazyLock<redis::Script> = LazyLock::new(|| redis::Script::new(UPSERT));

/// The script's text, to load it.
pub(super) fn source() -> &'static str {
    UPSERT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fences_order_as_their_parts() {
        let fences = [
            bytes(i64::MIN, None, 9, 9),
            bytes(-1, None, 9, 9),
            bytes(0, None, 1, 9),
            bytes(0, None, 2, 1),
            bytes(0, None, 2, 2),
            bytes(1, None, 0, 0),
            bytes(i64::MAX, None, 0, 0),
        ];
        assert!(fences.is_sorted());
        let created = [
            bytes(-1, Some(5), 9, 9),
            bytes(0, Some(-5), 9, 9),
            bytes(0, Some(5), 1, 2),
            bytes(0, Some(5), 2, 1),
            bytes(0, Some(6), 0, 0),
        ];
        assert!(created.is_sorted() && created.iter().all(|fence| fence.len() == 32));
        assert_eq!(fences[2], [128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9]);
    }
}
