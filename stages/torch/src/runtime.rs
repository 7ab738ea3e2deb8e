//! libtorch's threads, and the device that a workflow asks for.

use std::sync::Once;

use anyhow::{Result, bail, ensure};
use flow_stage::Context;
use tch::{Cuda, Device};

/// Binds libtorch to the stage's threads, and gives the device to compute on.
///
/// libtorch gives the same bits for the same number of threads, and other bits for another number.
///
/// # Errors
/// Where the workflow asks for a device that is not there.
pub fn start(context: &Context) -> Result<Device> {
    // libtorch refuses a second call. Its pool for independent operators is of no use here, and would take cores.
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tch::set_num_interop_threads(1));
    tch::set_num_threads(context.threads() as i32);
    device(context.device())
}

fn device(name: &str) -> Result<Device> {
    let number = match name {
        "cpu" => return Ok(Device::Cpu),
        "auto" => return Ok(Device::cuda_if_available()),
        "cuda" => 0,
        _ => match name.strip_prefix("cuda:").map(str::parse) {
            Some(Ok(number)) => number,
            _ => bail!(
                "there is no device `{name}`; known are cpu, auto, cuda and cuda:0, cuda:1, …"
            ),
        },
    };
    let devices = if Cuda::is_available() {
        Cuda::device_count() as usize
    } else {
        0
    };
    ensure!(
        number < devices,
        "the device `{name}` is not there: libtorch sees {devices} CUDA device(s); `cargo xtask setup --cuda` gets a \
         libtorch with CUDA, and `device = \"cpu\"` always works"
    );
    Ok(Device::Cuda(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_devices_that_are_there_are_given() {
        assert_eq!(device("cpu").unwrap(), Device::Cpu);
        let error = device("cuda:99").unwrap_err().to_string();
        assert!(error.contains("`cuda:99` is not there"), "{error}");
        let error = device("gpu").unwrap_err().to_string();
        assert!(error.contains("no device `gpu`"), "{error}");
    }
}
