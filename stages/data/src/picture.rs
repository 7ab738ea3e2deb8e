//! Image files: decoded to 8 bits a channel, and scaled to one shape.

use std::io::Cursor;

use anyhow::{Context as _, Result, bail, ensure};
use image::imageops::{FilterType, resize};
use image::{ColorType, DynamicImage, ImageError, ImageFormat, ImageReader, Limits};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The endings of the files that are read: those of `torchvision.datasets.ImageFolder`.
pub const ENDINGS: [&str; 9] = [
    "jpg", "jpeg", "png", "ppm", "bmp", "pgm", "tif", "tiff", "webp",
];

/// What to scale images to.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Size {
    /// As high as wide.
    Square(#[schemars(range(min = 1, max = 4096))] u32),
    /// Height and width.
    Sides(#[schemars(inner(range(min = 1, max = 4096)))] [u32; 2]),
}

/// What a pixel has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Colour {
    /// Red, green and blue.
    #[default]
    Rgb,
    /// One channel, of Rec. 709 luma.
    Grey,
}

/// The shape that all images of a data set take.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    height: u32,
    width: u32,
    colour: Colour,
    /// Whether images of another size are scaled; else they are an error.
    scaled: bool,
}

impl Shape {
    /// The shape that the workflow wishes, or that of the first image.
    ///
    /// # Errors
    /// Where `first` fails, or the size is none that a network looks at.
    pub fn new(
        size: Option<Size>,
        colour: Colour,
        first: impl FnOnce() -> Result<DynamicImage>,
    ) -> Result<Self> {
        let (height, width) = match size {
            Some(Size::Square(side)) => (side, side),
            Some(Size::Sides([height, width])) => (height, width),
            None => {
                let first = first()?;
                (first.height(), first.width())
            }
        };
        ensure!(
            (1..=4096).contains(&height) && (1..=4096).contains(&width),
            "images of {width}x{height} pixels are none that a network looks at: give `size`, from 1 to 4096"
        );
        Ok(Shape {
            height,
            width,
            colour,
            scaled: size.is_some(),
        })
    }

    /// Channels, height and width.
    pub fn dimensions(&self) -> [usize; 3] {
        let channels = match self.colour {
            Colour::Rgb => 3,
            Colour::Grey => 1,
        };
        [channels, self.height as usize, self.width as usize]
    }

    /// Decodes images on all cores, one after the other into `buffer`. `encoded` gives an image's name and bytes by its
    /// place.
    ///
    /// # Errors
    /// The first in order, whichever thread is first.
    pub fn decode_all<B: AsRef<[u8]>>(
        &self,
        buffer: &mut [u8],
        encoded: impl Fn(usize) -> Result<(String, B)> + Sync,
    ) -> Result<()> {
        let size: usize = self.dimensions().iter().product();
        let images = buffer.par_chunks_exact_mut(size).enumerate();
        let error = images.filter_map(|(place, pixels)| {
            let decoded = encoded(place).and_then(|(name, bytes)| {
                let image = decode(bytes.as_ref(), &name)?;
                ensure!(
                    self.scaled || (image.height(), image.width()) == (self.height, self.width),
                    "{name} has {}x{} pixels, and the first image has {}x{}: give `size`, which all are scaled to",
                    image.width(),
                    image.height(),
                    self.width,
                    self.height
                );
                self.fill(pixels, &image);
                Ok(())
            });
            decoded.err().map(|error| (place, error))
        });
        match error.min_by_key(|(place, _)| *place) {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }

    /// Scales an image, and writes it as `[channels, height, width]`.
    fn fill(&self, pixels: &mut [u8], image: &DynamicImage) {
        let (height, width) = (self.height, self.width);
        let same = (image.height(), image.width()) == (height, width);
        let interleaved = match self.colour {
            Colour::Rgb if same => image.to_rgb8().into_raw(),
            Colour::Rgb => resize(&image.to_rgb8(), width, height, FilterType::Triangle).into_raw(),
            Colour::Grey if same => image.to_luma8().into_raw(),
            Colour::Grey => {
                resize(&image.to_luma8(), width, height, FilterType::Triangle).into_raw()
            }
        };
        let size = (height * width) as usize;
        let channels = pixels.len() / size;
        for (channel, plane) in pixels.chunks_exact_mut(size).enumerate() {
            for (value, pixel) in plane.iter_mut().zip(interleaved.chunks_exact(channels)) {
                *value = pixel[channel];
            }
        }
    }
}

/// Decodes a file of any format of [`ENDINGS`], whatever its own ending. What it promises to be is believed up to 512 MiB
/// of pixels. Of several pictures it is the first.
///
/// # Errors
/// Where it is damaged, of another format, or not of whole numbers.
pub fn decode(bytes: &[u8], name: &str) -> Result<DynamicImage> {
    let damaged = || format!("{name} is no whole image: mend it or take it away");
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .with_context(damaged)?;
    let format = reader.format();
    if let Some(format) = format
        && !format.reading_enabled()
    {
        bail!(
            "{name} is a file of the format {format:?}, which is not read: convert it, in Python: \
             PIL.Image.open(f).convert(\"RGB\").save(\"x.png\")"
        );
    }
    reader.limits(Limits::default());
    let unsupported = || {
        format!(
            "{name} has pixels that are not read, such as floats: save it with 8 or 16 bits a channel, or all images as one \
             array for the kind `npy`, which has `scale`"
        )
    };
    let image = reader.decode().map_err(|error| {
        let text = match &error {
            ImageError::Unsupported(_) if format.is_some() => unsupported(),
            _ => damaged(),
        };
        anyhow::Error::from(error).context(text)
    })?;
    if format == Some(ImageFormat::Jpeg) {
        // The decoder fills what is missing of a truncated file with grey and says nothing. The marker that ends an image
        // has to come after the last one that begins a scan; a thumbnail before that has both of its own.
        let last = |marker: [u8; 2]| bytes.windows(2).rposition(|two| two == marker);
        ensure!(
            last([0xff, 0xd9]) > last([0xff, 0xda]),
            "{}: its end is missing",
            damaged()
        );
    }
    ensure!(
        !matches!(image.color(), ColorType::Rgb32F | ColorType::Rgba32F),
        "{}",
        unsupported()
    );
    Ok(image)
}
