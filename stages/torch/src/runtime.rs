//! libtorch's threads, the device that a workflow asks for, and libtorch's exceptions as errors.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind, set_hook, take_hook};
use std::sync::Once;

use anyhow::{Result, anyhow, bail, ensure};
use flow_stage::Context;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Cuda, Device};

use crate::net::Precision;
use crate::processor;

/// The parameters of every kind here that say where it computes, and with which numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Machine {
    /// Threads. libtorch's sums have other last bits for another number: this pins it. As many as `resources` say unless
    /// given.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1024))]
    pub threads: Option<u32>,
    /// Where to compute: `auto` is a GPU where the stage gets one (`resources.gpus`), else the CPU; `cpu` and `cuda:0`
    /// pin it.
    #[serde(default = "auto")]
    #[schemars(extend("pattern" = "^(auto|cpu|cuda(:[0-9]{1,3})?)$"))]
    pub device: String,
    /// What convolutions compute with: `fp32`, or `bf16` (bfloat16), which is about twice as fast where the CPU has
    /// instructions for it. Weights, batch norms and the loss are f32 either way.
    #[serde(default)]
    pub precision: Precision,
}

impl Machine {
    /// The name of the parameter that pins the number of threads.
    pub const THREADS: Option<&'static str> = Some("threads");
}

fn auto() -> String {
    "auto".into()
}

/// Binds libtorch to the stage's threads and device, and does `work` there. What libtorch throws becomes an error.
///
/// libtorch gives the same bits for the same number of threads, and other bits for another number.
///
/// # Errors
/// Those of `work`, and where the workflow asks for a device that is not there.
pub fn start(
    context: &Context,
    machine: &Machine,
    work: impl FnOnce(Device) -> Result<()>,
) -> Result<()> {
    // First of all: where something crashes, the log says with what.
    context.facts(processor::facts());
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        keep_memory();
        // libtorch refuses a second call. Its pool for independent operators is of no use here, and would take cores.
        tch::set_num_interop_threads(1);
        // What is caught below is said once, in words; anything else is told as ever.
        let tell = take_hook();
        set_hook(Box::new(move |panic| {
            if thrown(panic.payload()).is_none() {
                tell(panic);
            }
        }));
    });
    let threads = machine
        .threads
        .map_or(context.threads(), |threads| threads as usize);
    tch::set_num_threads(threads as i32);
    let device = match machine.device.as_str() {
        "auto" if context.device() != "cpu" && !Cuda::is_available() => {
            context.warning(format!(
                "it computes on the CPU: it was given {}, and this libtorch has no CUDA or finds no driver (`cargo xtask \
                 setup --cuda` gets one that has)",
                context.device()
            ));
            Device::Cpu
        }
        "auto" => device(context.device())?,
        pinned => device(pinned)?,
    };
    caught(|| work(device))
}

/// Lets freed memory stay with the process, in large pages.
///
/// Every layer of every step takes megabytes and gives them back. glibc returns such pieces to the system, which clears each
/// page of 4 kB again before the next use: a sixth of a training's time on the narrow ResNet (`docs/training-speed.md`).
fn keep_memory() {
    /// So much of the heap is in large pages; it takes no memory before it is used.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    const HEAP: usize = 2_000_000_000;
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `mallopt` sets numbers of the allocator. The block is no one else's between `malloc` and `free`, and advice on
    // how its pages are backed changes no content.
    #[allow(unsafe_code, reason = "glibc has no other way to say it")]
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
        let block = libc::malloc(HEAP);
        if !block.is_null() {
            let begin = block.map_addr(|address| address.next_multiple_of(LARGE_PAGE));
            libc::madvise(begin, HEAP - LARGE_PAGE, libc::MADV_HUGEPAGE);
            libc::free(block);
        }
    }
}

/// The size of a large page; where it is another one, the advice is rounded or refused, and nothing else depends on it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE_PAGE: usize = 2 << 20;

/// Does `work`, which looks at `size` images of `input` (channels, height, width) at once: where memory runs out, the
/// error says so.
///
/// # Errors
/// Those of `work`, and what libtorch throws.
pub fn in_batches<T>(size: usize, input: [i64; 3], work: impl FnOnce() -> Result<T>) -> Result<T> {
    caught(work).map_err(|error| {
        let [channels, height, width] = input;
        if out_of_memory(&error.to_string()) {
            error.context(format!(
                "memory ran out on batches of {size} images of {channels}x{height}x{width}; take a smaller batch (the \
                 parameter `batch_size` of a training), a smaller network, or fewer jobs at once (`--jobs`)"
            ))
        } else {
            error
        }
    })
}

/// What libtorch throws, as an error. The binding's functions panic with it, and those that don't (`f_…`) would double
/// the length of every formula.
fn caught<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result,
        Err(payload) => match thrown(payload.as_ref()) {
            Some(message) => Err(anyhow!("libtorch: {message}")),
            None => resume_unwind(payload),
        },
    }
}

/// The text of libtorch's exception in a panic's payload, without its list of addresses; none of another panic.
fn thrown(payload: &(dyn std::any::Any + Send)) -> Option<String> {
    let text = payload.downcast_ref::<String>()?;
    let (_, text) = text.split_once("Torch(\"")?;
    let text = text.replace("\\n", "\n").replace("\\\"", "\"");
    let end = ["\nException raised from", "\nframe #"]
        .iter()
        .filter_map(|beginning| text.find(beginning))
        .min()
        .or_else(|| text.rfind("\")"))
        .unwrap_or(text.len());
    Some(text[..end].trim().to_owned())
}

fn out_of_memory(message: &str) -> bool {
    ["can't allocate memory", "out of memory", "bad_alloc"]
        .iter()
        .any(|words| message.contains(words))
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
        "the device `{name}` is not there: libtorch sees {devices} CUDA device(s). A stage sees those that its \
         `resources.gpus` ask for, `cargo xtask setup --cuda` gets a libtorch with CUDA, and `device = \"cpu\"` always \
         works"
    );
    Ok(Device::Cuda(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Kind, Tensor};

    #[test]
    fn only_devices_that_are_there_are_given() {
        assert_eq!(device("cpu").unwrap(), Device::Cpu);
        let error = device("cuda:99").unwrap_err().to_string();
        assert!(error.contains("`cuda:99` is not there"), "{error}");
        let error = device("gpu").unwrap_err().to_string();
        assert!(error.contains("no device `gpu`"), "{error}");
    }

    #[test]
    fn what_libtorch_throws_is_an_error_in_words() {
        // 2^47 bytes fit into no machine's address space.
        let error = in_batches(200, [3, 32, 32], || {
            Ok(Tensor::ones([1 << 45], (Kind::Float, Device::Cpu)))
        })
        .unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.starts_with("memory ran out on batches of 200 images of 3x32x32; "),
            "{text}"
        );
        assert!(
            text.contains("allocate") && !text.contains("frame #"),
            "{text}"
        );
        let error = in_batches(200, [3, 32, 32], || {
            Ok(Tensor::ones([2, 3], (Kind::Float, Device::Cpu)).view([5, 5]))
        })
        .unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.starts_with("libtorch: shape '[5, 5]' is invalid") && !text.contains('\n'),
            "{text}"
        );
    }

    #[test]
    fn another_panic_stays_one() {
        let work = || caught(|| -> Result<()> { panic!("a fault") });
        assert!(catch_unwind(AssertUnwindSafe(work)).is_err());
    }
}
