use super::*;
use crate::testing::npy;
use proptest::prelude::*;

fn open(bytes: &[u8], layout: Option<Layout>) -> Result<Images> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("x.npy");
    std::fs::write(&path, bytes)?;
    Images::open(&path, "x.npy", layout, None)
}

#[track_caller]
fn says<T>(result: Result<T>, text: &str) {
    let error = format!("{:#}", result.err().expect("an error"));
    assert!(error.contains(text), "{error}\n(expected: {text})");
}

#[test]
fn every_layout_gives_the_same_image() {
    // Row 1 of [2, 3 channels, 2, 4].
    let wanted: Vec<u8> = (24..48).collect();
    let nchw = npy("|u1", &[2, 3, 2, 4], 0..48u8);
    let nhwc: Vec<u8> = (0..48usize)
        .map(|i| (i / 24 * 24 + i % 3 * 8 + i % 24 / 3) as u8)
        .collect();
    let nhwc = npy("|u1", &[2, 2, 4, 3], nhwc);
    for (bytes, layout) in [(&nchw, Layout::Nchw), (&nhwc, Layout::Nhwc)] {
        for layout in [None, Some(layout)] {
            let images = open(bytes, layout).unwrap();
            assert_eq!((images.rows, images.shape), (2, [3, 2, 4]));
            let mut image = vec![0; 24];
            images.copy(1, &mut image).unwrap();
            assert_eq!(image, wanted);
        }
    }
    let grey = open(&npy("|u1", &[3, 2, 2], 0..12u8), None).unwrap();
    assert_eq!((grey.rows, grey.shape), (3, [1, 2, 2]));
}

#[test]
fn what_is_no_image_array_is_refused() {
    let good = npy("|u1", &[3, 2, 2], 0..12u8);
    says(
        open(&good[..good.len() - 1], None),
        "x.npy is truncated: its shape [3, 2, 2] takes 12 bytes, found 11",
    );
    says(
        open(&[&good[..], b"x"].concat(), None),
        "longer than its header says",
    );
    says(open(&good[..40], None), "is no .npy array");
    says(open(b"", None), "is no .npy array");
    says(open(b"epoch,loss\n1,2\n3,4\n", None), "is no .npy array");
    says(
        open(&npy("<f4", &[1, 1, 1], [0; 4]), None),
        "elements of type `<f4`, and images are u8",
    );
    says(
        open(&npy("|u1", &[4], [0; 4]), None),
        "images are [n, height, width]",
    );
    says(open(&npy("|u1", &[0, 2, 2], []), None), "no image");
    says(
        open(&npy("|u1", &[1, 3, 2, 3], [0; 18]), None),
        "not clear which dimension is the channels",
    );
    says(
        open(&good, Some(Layout::Nchw)),
        "`layout` says that it has 4 dimensions",
    );
    let huge = npy("|u1", &[usize::MAX / 2, 1 << 20, 3], []);
    says(open(&huge, None), "which can't be");
    let lying = npy("|u1", &[1 << 40, 28, 28], [0; 100]);
    says(open(&lying, None), "truncated");
    let nested = [b"\x93NUMPY\x01\0\xff\x0f".as_slice(), &[b'('; 4095]].concat();
    says(open(&nested, None), "is no plain .npy array of numbers");
    let long = [b"\x93NUMPY\x02\0\xff\xff\xff\xff".as_slice(), &[b' '; 100]].concat();
    says(open(&long, None), "has a header of 4294967295 bytes");
    let record = npy("|u1", &[1], [0]);
    let record = String::from_utf8_lossy(&record[6..]).replace("'|u1'", "[('a', '<i4')]");
    let record = [b"\x93NUMPY".as_slice(), record.as_bytes()].concat();
    says(open(&record, None), "is no");
}

#[test]
fn images_of_other_types_are_converted_where_their_scale_is_named() {
    let read = |descr, bytes: Vec<u8>, scale| -> Result<Vec<u8>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("x.npy");
        std::fs::write(&path, npy(descr, &[1, 1, 2, 2], bytes))?;
        let mut image = vec![0; 4];
        let layout = Some(Layout::Nchw);
        Images::open(&path, "x.npy", layout, Some(scale))?.copy(0, &mut image)?;
        Ok(image)
    };
    let singles = |values: [f32; 4]| values.iter().flat_map(|v| v.to_le_bytes()).collect();
    assert_eq!(
        read("<f4", singles([0.0, 0.2, 0.998, 1.0]), Scale::Unit).unwrap(),
        [0, 51, 254, 255]
    );
    assert_eq!(
        read("<f4", singles([0.0, 0.4, 254.6, 255.0]), Scale::Bytes).unwrap(),
        [0, 0, 255, 255]
    );
    let doubles = [0.0, 0.25, 0.5, 1.0f64]
        .iter()
        .flat_map(|v| v.to_be_bytes());
    assert_eq!(
        read(">f8", doubles.collect(), Scale::Unit).unwrap(),
        [0, 64, 128, 255]
    );
    // Halves: 0, 1, 0.5 and 0.25.
    let halves = vec![0, 0, 0, 0x3c, 0, 0x38, 0, 0x34];
    assert_eq!(read("<f2", halves, Scale::Unit).unwrap(), [0, 255, 128, 64]);
    assert_eq!(
        read("|b1", vec![0, 1, 1, 0], Scale::Unit).unwrap(),
        [0, 255, 255, 0]
    );
    assert_eq!(
        read("|u1", vec![0, 1, 7, 255], Scale::Bytes).unwrap(),
        [0, 1, 7, 255]
    );
    says(
        read("<f4", singles([0.0, 1.5, 0.0, 0.0]), Scale::Unit),
        "x.npy: image 0 holds 1.5, and `scale` says 0..1: correct `scale`, or save numpy.clip(images, 0, 1)",
    );
    says(
        read("<f4", singles([f32::NAN; 4]), Scale::Unit),
        "holds NaN",
    );
    says(read("<f4", singles([-0.1; 4]), Scale::Bytes), "says 0..255");
    says(read("<c8", vec![0; 32], Scale::Unit), "no real numbers");
}

#[test]
fn columns_are_numbers_or_texts() {
    let read = |descr, shape: &[usize], bytes: &[u8]| {
        read_column(&*npy(descr, shape, bytes.to_vec()), "y.npy")
    };
    assert_eq!(
        read("|i1", &[2], &[1, 255]).unwrap(),
        Column::Integers(vec![1, -1])
    );
    let wide: Vec<u8> = ['ü', 'b', 'c', '\0']
        .iter()
        .flat_map(|&c| (c as u32).to_le_bytes())
        .collect();
    assert_eq!(
        read("<U2", &[2], &wide).unwrap(),
        Column::Texts(vec!["üb".into(), "c".into()])
    );
    assert_eq!(
        read("|S2", &[2], b"abc\0").unwrap(),
        Column::Texts(vec!["ab".into(), "c".into()])
    );
    says(read("|O", &[2], b""), "holds Python objects");
    says(read("<f4", &[1], &[0; 4]), "labels.astype(\"int64\")");
    says(read("<U2", &[9], &wide), "truncated");
    says(read("<U999999999", &[2], &wide), "no real numbers");
}

#[test]
fn labels_are_integers_of_any_type() {
    let read = |descr, shape: &[usize], bytes: &[u8]| {
        read_labels(&*npy(descr, shape, bytes.to_vec()), "y.npy")
    };
    assert_eq!(read("|u1", &[3, 1], &[0, 1, 2]).unwrap(), [0, 1, 2]);
    assert_eq!(read("<i8", &[1], &[0; 8]).unwrap(), [0]);
    assert_eq!(read("<u2", &[2], &[1, 0, 0, 0]).unwrap(), [1, 0]);
    says(
        read("<i4", &[2], &[0, 0, 0, 0, 255, 255, 255, 255]),
        "the label of row 1 is -1",
    );
    says(
        read("|u1", &[2], &[0, 9]),
        "the label of row 1 is 9, and there are 2 rows",
    );
    says(read("<u8", &[1], &[255; 8]), "too large for a label");
    says(
        read("<f8", &[1], &[0; 8]),
        "elements of type `<f8`; labels are integers",
    );
    says(read("|u1", &[1, 14], &[0; 14]), "has 14 labels an image");
    says(
        read("|u1", &[3], &[0, 1]),
        "truncated: expected 3 bytes, found 2",
    );
    let split = |bytes: &[u8]| read_split(&*npy("|u1", &[bytes.len()], bytes.to_vec()), "s.npy");
    assert_eq!(
        split(&[2, 0, 1]).unwrap(),
        [Split::Test, Split::Train, Split::Val]
    );
    says(split(&[3]), "row 0 holds 3; 0 is train");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(at in 0..140usize, value: u8, cut in 0..141usize) {
        let mut bytes = npy("|u1", &[3, 2, 2], 0..12u8);
        let n = bytes.len();
        bytes[at % n] = value;
        bytes.truncate(cut);
        if let Ok(images) = open(&bytes, None) {
            let size = images.shape.iter().product::<usize>();
            images.copy(images.rows - 1, &mut vec![0; size]).unwrap();
        }
        let _ = read_labels(&*bytes, "y.npy");
        let _ = read_column(&*bytes, "y.npy");
    }

    #[test]
    fn elements_are_read_as_they_were_written(value: i64, float: f64) {
        let number = |descr, bytes: &[u8]| Element::parse(descr, "x").unwrap().read(bytes);
        prop_assert_eq!(number("<i8", &value.to_le_bytes()), Number::Integer(value.into()));
        prop_assert_eq!(number(">i8", &value.to_be_bytes()), Number::Integer(value.into()));
        prop_assert_eq!(number("<u8", &value.to_le_bytes()), Number::Integer((value as u64).into()));
        let short = value as i16;
        prop_assert_eq!(number("<i2", &short.to_le_bytes()), Number::Integer(short.into()));
        prop_assert_eq!(number(">u2", &short.to_be_bytes()), Number::Integer((short as u16).into()));
        prop_assert_eq!(number("|i1", &[value as u8]), Number::Integer((value as i8).into()));
        prop_assert_eq!(number("<f8", &float.to_le_bytes()), Number::Float(float));
        let single = float as f32;
        prop_assert_eq!(number(">f4", &single.to_be_bytes()), Number::Float(single.into()));
    }
}
