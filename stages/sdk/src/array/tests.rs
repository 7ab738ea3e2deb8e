use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use ndarray::{Array2, array};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// The bytes of a `.npy` file.
fn npy(descr: &str, fortran: bool, shape: &str, elements: &[u8]) -> Vec<u8> {
    let fortran = if fortran { "True" } else { "False" };
    let text = format!("{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}");
    let text = format!("{text:<117}\n");
    let mut bytes = b"\x93NUMPY\x01\0".to_vec();
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.extend(elements);
    bytes
}

fn file(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npy");
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn matrix(descr: &str, shape: &str, elements: &[u8]) -> Result<Array2<f32>> {
    let (_folder, path) = file(&npy(descr, false, shape, elements));
    read_matrix(&path)
}

#[track_caller]
fn says<T>(result: Result<T>, text: &str) {
    let error = format!("{:#}", result.err().expect("an error"));
    assert!(error.contains(text), "{error}\n(expected: {text})");
}

#[test]
fn what_is_written_is_read_back() {
    let (_folder, path) = file(b"");
    write(&path, &array![[1.5f64, f64::NAN]]).unwrap();
    let matrix = read_matrix(&path).unwrap();
    assert_eq!(matrix[[0, 0]], 1.5);
    assert!(matrix[[0, 1]].is_nan());
    assert_eq!(read_matrix_f64(&path).unwrap()[[0, 0]], 1.5);
    assert_eq!(read::<f64, ndarray::Ix2>(&path).unwrap()[[0, 0]], 1.5);
    says(
        read::<f32, ndarray::Ix2>(&path),
        "x.npy holds float64 (`<f8`), and f32 is wanted",
    );
    write(&path, &array![0i64, -1, 7]).unwrap();
    assert_eq!(read_labels(&path).unwrap(), array![0, -1, 7]);
    write(&path, &array![true, false]).unwrap();
    assert_eq!(read_mask(&path).unwrap(), array![true, false]);
}

#[test]
fn every_type_of_number_is_converted_exactly() {
    // 2 and 0, or 1 and 0.
    let cases: [(&str, &[u8], f32); 19] = [
        ("'<f2'", &[0x00, 0x40, 0, 0], 2.0),
        ("'>f2'", &[0x40, 0x00, 0, 0], 2.0),
        ("'<f4'", &[0, 0, 0, 0x40, 0, 0, 0, 0], 2.0),
        ("'>f4'", &[0x40, 0, 0, 0, 0, 0, 0, 0], 2.0),
        (
            "'<f8'",
            &[0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0],
            2.0,
        ),
        (
            "'>f8'",
            &[0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            2.0,
        ),
        ("'|i1'", &[0xfe, 0], -2.0),
        ("'<i2'", &[0xfe, 0xff, 0, 0], -2.0),
        ("'>i2'", &[0xff, 0xfe, 0, 0], -2.0),
        ("'<i4'", &[0xfe, 0xff, 0xff, 0xff, 0, 0, 0, 0], -2.0),
        ("'>i4'", &[0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 0], -2.0),
        (
            "'<i8'",
            &[0, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0],
            -(2f32.powi(63)),
        ),
        ("'|u1'", &[0xfe, 0], 254.0),
        ("'<u2'", &[0xfe, 0xff, 0, 0], 65534.0),
        ("'>u2'", &[0xff, 0xfe, 0, 0], 65534.0),
        ("'<u4'", &[0, 0, 0, 0x80, 0, 0, 0, 0], 2f32.powi(31)),
        (
            "'<u8'",
            &[0, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0],
            2f32.powi(63),
        ),
        (
            "'>u8'",
            &[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            2f32.powi(63),
        ),
        ("'|b1'", &[1, 0], 1.0),
    ];
    for (descr, elements, wanted) in cases {
        let (_folder, path) = file(&npy(descr, false, "(2, 1)", elements));
        assert_eq!(read_matrix(&path).unwrap(), array![[wanted], [0.0]]);
        let wanted = f64::from(wanted);
        assert_eq!(read_matrix_f64(&path).unwrap(), array![[wanted], [0.0]]);
    }
    // Half precision has subnormals, infinities and NaN.
    let half = matrix("'<f2'", "(1, 3)", &[1, 0, 0, 0x7c, 0, 0x7e]).unwrap();
    assert_eq!(
        (half[[0, 0]], half[[0, 1]]),
        (2f32.powi(-24), f32::INFINITY)
    );
    assert!(half[[0, 2]].is_nan());
    let (_folder, path) = file(&npy("'|u1'", true, "(2, 3)", &[1, 2, 3, 4, 5, 6]));
    assert_eq!(
        read_matrix(&path).unwrap(),
        array![[1., 3., 5.], [2., 4., 6.]]
    );
}

#[test]
fn a_number_that_does_not_fit_is_named_with_its_place() {
    let bytes =
        |numbers: &[i64]| -> Vec<u8> { numbers.iter().flat_map(|i| i.to_le_bytes()).collect() };
    let odd = bytes(&[0, 1 << 24, 0, (1 << 24) + 1]);
    let error = "x.npy: row 1, column 1 holds 16777217, which f32 can't hold exactly. In NumPy: x.astype(\"float32\")";
    says(matrix("'<i8'", "(2, 2)", &odd), error);
    let (_folder, path) = file(&npy(
        "'<i8'",
        true,
        "(2, 2)",
        &bytes(&[0, (1 << 24) + 1, 0, 0]),
    ));
    says(read_matrix(&path), "row 1, column 0 holds 16777217");
    says(
        matrix("'<u8'", "(1, 1)", &[255; 8]),
        "row 0 holds 18446744073709551615, which f32 can't hold exactly",
    );
    let (_folder, path) = file(&npy("'<i8'", false, "(1, 1)", &bytes(&[(1 << 53) + 1])));
    says(
        read_matrix_f64(&path),
        "row 0 holds 9007199254740993, which f64 can't hold exactly",
    );

    let (_folder, path) = file(b"");
    write(&path, &array![[0.0], [f64::NEG_INFINITY], [-1e300]]).unwrap();
    let error =
        "row 2 holds -1e300, which f32 can't hold: it ends at 3.4e38. Scale the values first";
    says(read_matrix(&path), error);
    assert_eq!(read_matrix_f64(&path).unwrap()[[2, 0]], -1e300);

    write(&path, &array![0.0, 3.0, 2.5]).unwrap();
    says(
        read_labels(&path),
        "row 2 holds 2.5, and labels are 0, 1, 2, …",
    );
    says(
        read_mask(&path),
        "row 1 holds 3.0, and a mask holds true and false",
    );
    for label in [-2, 1 << 31, i64::MIN] {
        write(&path, &array![label]).unwrap();
        says(
            read_labels(&path),
            &format!("row 0 holds {label}, and labels"),
        );
    }
    write(&path, &array![f64::NAN, 1e300]).unwrap();
    says(read_labels(&path), "row 0 holds NaN");
}

#[test]
fn other_dimensions_are_told_with_the_way_to_mend_them() {
    let (_folder, path) = file(b"");
    let two = |text| says(read_matrix(&path), text);
    write(&path, &array![1.0, 2.0]).unwrap();
    two(
        "x.npy has the shape (2,): that is 1 dimension, and 2 are wanted: [n, d], a row for each sample. In NumPy: x.reshape(len(x), -1)",
    );
    write(&path, &ndarray::Array4::<u8>::zeros((2, 3, 4, 1))).unwrap();
    two("the shape (2, 3, 4, 1): that is 4 dimensions, and 2 are wanted");
    write(&path, &ndarray::arr0(1.0)).unwrap();
    two("the shape (): that is 0 dimensions, and 2 are wanted");
    write(&path, &array![[1], [2]]).unwrap();
    says(
        read_labels(&path),
        "the shape (2, 1): that is 2 dimensions, and 1 is wanted: [n], a number for each row. In NumPy: x.reshape(-1)",
    );
    write(&path, &array![[1, 2], [2, 3]]).unwrap();
    says(read_labels(&path), "one column of it, x[:, 0]");
}

#[test]
fn what_is_no_array_of_numbers_is_refused() {
    for (descr, size, text) in [
        (
            "'<c8'",
            8,
            "x.npy holds complex64 (`<c8`), which is not read. In NumPy: x.real",
        ),
        (
            "'<U1'",
            4,
            "x.npy holds text (`<U1`), which is not read. In NumPy: x.astype(\"float32\")",
        ),
        (
            "'|O'",
            5,
            "holds Python objects (`|O`), which is not read. In NumPy: numpy.array(x.tolist()",
        ),
        (
            "'|V2'",
            2,
            "holds elements of the type `|V2`, which is not read",
        ),
        ("'<f16'", 16, "holds float128 (`<f16`), which is not read"),
        (
            "[('a', '<i4')]",
            4,
            "x.npy is not a .npy array of numbers: it holds records",
        ),
    ] {
        says(matrix(descr, "(1, 1)", &vec![0; size]), text);
    }
    says(
        matrix("'<f4'", "(2, 2)", &[0; 12]),
        "x.npy is truncated: the shape (2, 2) takes 16 bytes, found 12",
    );
    says(
        matrix("'<f4'", "(1, 2)", &[0; 12]),
        "x.npy is longer than its header says",
    );
    let huge = format!("({}, 8)", usize::MAX);
    says(matrix("'<f4'", &huge, &[]), "no file can have the shape");
    for bytes in [&b""[..], b"epoch,loss\n1,2\n3,4\n", b"PK\x03\x04 and so on"] {
        let (_folder, path) = file(bytes);
        says(
            read_matrix(&path),
            "x.npy is not a .npy array of numbers: it does not begin as one",
        );
        says(
            read::<u8, ndarray::Ix1>(&path),
            "is not a .npy array of numbers",
        );
    }
    says(read_matrix(Path::new("/nowhere/x.npy")), "can't be opened");
    let nested = [b"\x93NUMPY\x01\0\xff\x0f".as_slice(), &[b'('; 4095]].concat();
    let (_folder, path) = file(&nested);
    says(read_matrix(&path), "its header names no `descr`");
}

proptest! {
    #[test]
    fn integers_are_exact_or_refused(integers in prop::collection::vec(any::<i64>(), 1..9), shift in 0..64u32) {
        let integers: Vec<i64> = integers.into_iter().map(|i| i >> shift).collect();
        let (_folder, path) = file(b"");
        write(&path, &ndarray::Array1::from(integers.clone()).insert_axis(ndarray::Axis(1))).unwrap();
        let fits = |i: &i64| *i as f32 as i128 == i128::from(*i);
        match read_matrix(&path) {
            Ok(read) => prop_assert!(read.iter().zip(&integers).all(|(&x, &i)| x as i128 == i128::from(i))),
            Err(error) => {
                let row = integers.iter().position(|i| !fits(i));
                prop_assert!(row.is_some());
                let row = row.unwrap_or_default();
                let text = format!("row {row} holds {}, which f32", integers[row]);
                let error = format!("{error:#}");
                prop_assert!(error.contains(&text), "{}", error);
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(at in 0..140usize, value: u8, cut in 0..141usize) {
        let mut bytes = npy("'<i2'", false, "(3, 2)", &[0; 12]);
        let n = bytes.len();
        bytes[at % n] = value;
        bytes.truncate(cut);
        let (_folder, path) = file(&bytes);
        let _ = read_matrix(&path);
        let _ = read_labels(&path);
        let _ = read::<i16, ndarray::Ix2>(&path);
    }
}
