//! Landmarks of a PNG, as JSON.
//!
//!     cargo run -- BUNDLE IMAGE...      # one image for each input of the network

mod mahtrt;

use mahtrt::{Error, Landmark, Picture, Session, FAILED, USAGE};
use std::process::ExitCode;

/// JSON has no NaN, which stands for what is not known.
fn number(value: f32) -> String {
    if value.is_nan() {
        return "null".to_owned();
    }
    value.to_string()
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn json(session: &Session, found: &[Landmark]) -> String {
    let lines = found.iter().enumerate().map(|(i, one)| {
        format!(
            "\n  {{\"name\": {}, \"x_px\": {}, \"y_px\": {}, \"confidence\": {}, \"spread_px\": {}}}",
            quoted(&session.name(i)),
            number(one.x_px),
            number(one.y_px),
            number(one.confidence),
            number(one.spread_px),
        )
    });
    let landmarks = lines.collect::<Vec<_>>().join(",");
    format!(
        "{{\"engine\": {}, \"landmarks\": [{}]}}",
        quoted(&session.engine()),
        landmarks
    )
}

fn run(bundle: &str, paths: &[String]) -> Result<String, Error> {
    let session = Session::open(bundle, None)?;
    let mut pictures = Vec::new();
    for path in paths {
        let png = std::fs::read(path).map_err(|error| Error {
            status: FAILED,
            text: format!("{path}: {error}"),
        })?;
        pictures.push(Picture::from_png(&png)?);
    }
    let found = session.run(&pictures)?;
    Ok(json(&session, &found))
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.len() < 3 {
        eprintln!("usage: landmarks BUNDLE IMAGE...");
        return ExitCode::from(USAGE as u8);
    }
    match run(&arguments[1], &arguments[2..]) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(error.status as u8)
        }
    }
}
