use super::read::NumberReader;
use super::*;

#[test]
fn formats_and_names_are_two_ways_to_say_a_type() {
    for (name, format) in [
        ("boolean", "b"),
        ("int32", "i"),
        ("int64", "l"),
        ("float32", "f"),
        ("float64", "g"),
        ("timestamp", "tsu:UTC"),
        ("utf8", "u"),
        ("binary", "z"),
        ("list<float64>", "+l<g>"),
        ("list<list<timestamp>>", "+l<+l<tsu:UTC>>"),
    ] {
        let column_type = ColumnType::parse(name).unwrap();
        assert_eq!(column_type.format(), format);
        assert_eq!(column_type.to_string(), name);
        assert_eq!(ColumnType::from_format(format), Some(column_type));
    }
    for unknown in ["", "w:16", "+l", "+l<>", "+l<g", "tsu:", "tsu:CET"] {
        assert_eq!(ColumnType::from_format(unknown), None, "{unknown}");
    }
}

fn finish<T: IntoColumn>(values: Vec<T>) -> Vec<Vec<u8>> {
    values.into_iter().collect::<Builder<T>>().finish()
}

#[test]
fn buffers_are_arrows() {
    assert_eq!(finish(vec![true, false, true]), [vec![], vec![0b101]]);
    assert_eq!(finish(vec![1_i32, -1]), [vec![], vec![1, 0, 0, 0, 255, 255, 255, 255]]);
    assert_eq!(finish(vec!["ab", "", "c"]), [vec![], offsets(&[0, 2, 2, 3]), b"abc".to_vec()]);
    assert_eq!(finish(vec![Some(7_i32), None]), [vec![0b01], vec![7, 0, 0, 0, 0, 0, 0, 0]]);
    assert_eq!(finish(vec![Some("x")]), [vec![], offsets(&[0, 1]), b"x".to_vec()]);
    let lists = vec![Some(vec![Some(true), None]), None, Some(vec![])];
    assert_eq!(finish(lists), [vec![0b101], offsets(&[0, 2, 2, 2]), vec![0b01], vec![0b01]]);
}

fn offsets(offsets: &[i32]) -> Vec<u8> {
    offsets.iter().flat_map(|offset| offset.to_le_bytes()).collect()
}

#[test]
fn the_bitmap_begins_with_the_first_null() {
    let values = (0..20).map(|row| (row != 11).then_some(row)).collect::<Vec<Option<i32>>>();
    assert_eq!(finish(values)[0], [0xff, 0b1111_0111, 0b1111]);
}

#[test]
fn text_is_written_in_place() {
    let written = finish(vec![Lowercase("AbcDefGhiJ"), Lowercase("ÀÉ und İ"), Lowercase("[Z@`z{")]);
    assert_eq!(written[2], "abcdefghijàé und i̇[z@`z{".as_bytes());
    assert_eq!(written[1], offsets(&[0, 10, 22, 28]));
    assert_eq!(finish(vec![Shown(1.5), Shown(-2.0)])[2], b"1.5-2");
}

#[test]
fn lower_case_agrees_with_std_for_every_letter() {
    for letter in (0..=0x1_0000).filter_map(char::from_u32) {
        let text = format!("abcdefg{letter}hijkl{letter}");
        assert_eq!(finish(vec![Lowercase(&text)])[2], text.to_lowercase().as_bytes(), "{letter:?}");
    }
}

#[test]
fn slices_come_from_any_address() {
    let bytes: Vec<u8> = (0..4_i64).flat_map(i64::to_le_bytes).collect();
    let shifted = |by: usize| [vec![0; by], bytes.clone()].concat();
    for by in 0..8 {
        let buffer = shifted(by);
        let reader = NumberReader { validity: Validity::new(&[], 4).unwrap(), values: buffer[by..].as_chunks::<8>().0 };
        let column = view::Column::<i64>::from_reader(reader, 4);
        assert_eq!(column.values().as_ref(), [0, 1, 2, 3]);
    }
}

#[test]
fn short_buffers_are_errors() {
    let error = |buffers: &[Vec<u8>]| <&str>::reader(buffers, 2).map(|_| ()).unwrap_err();
    assert_eq!(error(&[]), "0 buffers where more than 2 belong");
    assert_eq!(error(&[vec![], offsets(&[0, 1]), vec![b'x']]), "2 offsets for 2 rows");
    assert!(error(&[vec![], offsets(&[0, 1, 2]), vec![b'x', 0xff]]).starts_with("text that is not UTF-8"));
    let numbers = [vec![], vec![0; 15]];
    assert_eq!(f64::reader(&numbers, 2).map(|_| ()).unwrap_err(), "1 values for 2 rows");
    assert_eq!(bool::reader(&[vec![1], vec![1]], 9).map(|_| ()).unwrap_err(), "1 bytes of booleans for 9 rows");
}

#[test]
fn offsets_are_checked_before_text_is_taken_over() {
    let taken = |text: &str, offsets: &[i32]| Builder::<String>::from_text(text.to_owned(), offsets.iter().copied());
    assert_eq!(taken("abé", &[0, 2, 2, 4]).unwrap().finish(), [vec![], offsets(&[0, 2, 2, 4]), "abé".into()]);
    for wrong in [&[][..], &[1, 4], &[0, 3, 4], &[0, 2, 1, 4], &[0, 2], &[0, 5], &[0, -1, 4]] {
        assert!(taken("abé", wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn bits_are_taken_over_whole() {
    let column = Builder::from_bits(vec![0b1010_1010, 0xff], 10);
    assert_eq!(column.len(), 10);
    assert_eq!(column.finish(), [vec![], vec![0b1010_1010, 0xff]]);
    assert_eq!(Builder::from_bits(vec![0xff], 10).len(), 8);
}
