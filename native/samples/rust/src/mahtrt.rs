//! libmahtrt for Rust: what the sample uses of mahtrt.h, and a session over it.
//! Structs are those of mahtrt.h, field by field.

use std::ffi::{c_char, c_void, CStr, CString};
use std::fmt;

pub const OK: i32 = 0;
pub const FAILED: i32 = 1;
pub const USAGE: i32 = 2;

pub enum RawSession {}

#[repr(C)]
pub struct Options {
    pub size: usize,
    pub engine: *const c_char,
    pub runtime_dir: *const c_char,
    pub require: i32,
    pub threads: i32,
    pub device: i32,
    pub skip_digests: i32,
    pub stream: *mut c_void,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Image {
    pub size: usize,
    pub data: *const c_void,
    pub row_bytes: usize,
    pub width: i32,
    pub height: i32,
    pub format: i32,
    pub spacing_row_mm: f64,
    pub spacing_column_mm: f64,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Landmark {
    pub x_px: f32,
    pub y_px: f32,
    pub confidence: f32,
    pub spread_px: f32,
    pub spread_x_px: f32,
    pub spread_y_px: f32,
    pub x_mm: f32,
    pub y_mm: f32,
    pub visibility: f32,
    pub visible: i32,
    pub two_peaks: i32,
}

extern "C" {
    fn mahtrt_last_error() -> *const c_char;
    fn mahtrt_options_init(options: *mut Options, size: usize);
    fn mahtrt_open(
        bundle: *const c_char,
        options: *const Options,
        session: *mut *mut RawSession,
    ) -> i32;
    fn mahtrt_close(session: *mut RawSession) -> i32;
    fn mahtrt_engine_name(session: *const RawSession) -> *const c_char;
    fn mahtrt_input_count(session: *const RawSession) -> usize;
    fn mahtrt_landmark_count(session: *const RawSession) -> usize;
    fn mahtrt_landmark_name(session: *const RawSession, landmark: usize) -> *const c_char;
    fn mahtrt_image_init(image: *mut Image, size: usize);
    fn mahtrt_png_read(
        png: *const c_void,
        bytes: usize,
        pixels: *mut c_void,
        pixel_bytes: usize,
        image: *mut Image,
    ) -> i32;
    fn mahtrt_run_batch(
        session: *mut RawSession,
        images: *const Image,
        image_count: usize,
        landmarks: *mut Landmark,
        landmark_size: usize,
        capacity: usize,
        outputs: *const c_void,
        output_count: usize,
    ) -> i32;
}

/// A call that failed: its status, and what the library says of it.
#[derive(Debug)]
pub struct Error {
    pub status: i32,
    pub text: String,
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

/// A text of the library as a value of its own; "" for NULL.
fn text(found: *const c_char) -> String {
    if found.is_null() {
        return String::new();
    }
    // SAFETY: texts of the library end with a zero byte and live as long as their session.
    unsafe { CStr::from_ptr(found) }
        .to_string_lossy()
        .into_owned()
}

fn check(status: i32) -> Result<(), Error> {
    if status == OK {
        return Ok(());
    }
    // SAFETY: the text of this thread's last error is always there.
    Err(Error {
        status,
        text: text(unsafe { mahtrt_last_error() }),
    })
}

/// The pixels of a PNG, and the image that points to them.
pub struct Picture {
    image: Image,
    _pixels: Vec<u8>, // moving a Vec leaves its memory where it is
}

impl Picture {
    pub fn from_png(png: &[u8]) -> Result<Picture, Error> {
        let start = png.as_ptr().cast();
        let mut image = std::mem::MaybeUninit::<Image>::zeroed();
        // SAFETY: zeros are an Image; the library writes no further than the sizes it is given.
        unsafe {
            mahtrt_image_init(image.as_mut_ptr(), std::mem::size_of::<Image>());
            let mut image = image.assume_init();
            check(mahtrt_png_read(
                start,
                png.len(),
                std::ptr::null_mut(),
                0,
                &mut image,
            ))?;
            let mut pixels = vec![0u8; image.row_bytes * image.height as usize];
            let room = pixels.as_mut_ptr().cast();
            check(mahtrt_png_read(
                start,
                png.len(),
                room,
                pixels.len(),
                &mut image,
            ))?;
            Ok(Picture {
                image,
                _pixels: pixels,
            })
        }
    }
}

/// An engine that is open; closed when it is dropped.
pub struct Session(*mut RawSession);

// SAFETY: mahtrt.h lets every function run in any thread, several at once.
unsafe impl Send for Session {}
unsafe impl Sync for Session {}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: the session is open, and nobody has it any more.
        unsafe { mahtrt_close(self.0) };
    }
}

impl Session {
    /// `engine`: None for the bundle's default, or the fastest that runs here.
    pub fn open(bundle: &str, engine: Option<&str>) -> Result<Session, Error> {
        let no_zero = |name: &str| {
            CString::new(name).map_err(|_| Error {
                status: USAGE,
                text: "a zero byte in a name".to_owned(),
            })
        };
        let bundle = no_zero(bundle)?;
        let engine = engine.map(no_zero).transpose()?;
        let mut options = std::mem::MaybeUninit::<Options>::zeroed();
        let mut session = std::ptr::null_mut();
        // SAFETY: zeros are Options; the texts live until the call is over.
        unsafe {
            mahtrt_options_init(options.as_mut_ptr(), std::mem::size_of::<Options>());
            let mut options = options.assume_init();
            options.engine = engine
                .as_ref()
                .map_or(std::ptr::null(), |name| name.as_ptr());
            check(mahtrt_open(bundle.as_ptr(), &options, &mut session))?;
        }
        Ok(Session(session))
    }

    pub fn engine(&self) -> String {
        // SAFETY: the session is open.
        text(unsafe { mahtrt_engine_name(self.0) })
    }

    pub fn name(&self, landmark: usize) -> String {
        // SAFETY: the session is open; NULL is given for a number that is too large.
        text(unsafe { mahtrt_landmark_name(self.0, landmark) })
    }

    /// One picture for each input of the network.
    pub fn run(&self, pictures: &[Picture]) -> Result<Vec<Landmark>, Error> {
        // SAFETY: the session is open.
        let (inputs, landmarks) =
            unsafe { (mahtrt_input_count(self.0), mahtrt_landmark_count(self.0)) };
        if pictures.len() != inputs {
            let text = "images: give one for each input of the network".to_owned();
            return Err(Error {
                status: USAGE,
                text,
            });
        }
        let images: Vec<Image> = pictures.iter().map(|each| each.image).collect();
        let mut found = vec![Landmark::default(); landmarks];
        let (room, size) = (found.as_mut_ptr(), std::mem::size_of::<Landmark>());
        let none = std::ptr::null();
        // SAFETY: as many images as inputs, whose pixels the pictures hold; room for `landmarks`.
        check(unsafe {
            mahtrt_run_batch(
                self.0,
                images.as_ptr(),
                inputs,
                room,
                size,
                landmarks,
                none,
                0,
            )
        })?;
        Ok(found)
    }
}
