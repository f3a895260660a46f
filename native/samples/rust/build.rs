//! Links libmahtrt: from the folder that MAHTRT_LIB_DIR names, else where pkg-config finds it.

use std::{env, process::Command};

fn from_pkg_config() -> String {
    let found = Command::new("pkg-config")
        .args(["--variable=libdir", "mahtrt"])
        .output();
    match found {
        Ok(done) if done.status.success() => String::from_utf8(done.stdout)
            .expect("a path in UTF-8")
            .trim()
            .to_owned(),
        _ => panic!("libmahtrt was not found. Set MAHTRT_LIB_DIR or PKG_CONFIG_PATH."),
    }
}

fn main() {
    println!("cargo:rerun-if-env-changed=MAHTRT_LIB_DIR");
    println!("cargo:rerun-if-env-changed=PKG_CONFIG_PATH");
    let folder = env::var("MAHTRT_LIB_DIR").unwrap_or_else(|_| from_pkg_config());
    println!("cargo:rustc-link-search=native={folder}");
    println!("cargo:rustc-link-lib=dylib:+verbatim=libmahtrt.so.1");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}");
}
