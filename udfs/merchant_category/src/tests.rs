use super::*;

#[test]
fn x() { assert_eq!(classify(" SHELL OIL #5744-12 "), "fuel"); assert_eq!(classify("Zzz"), "other"); }
