// What ATen chose its kernels by. torch-sys has no name for it in C.

#include <string>

namespace at {
std::string get_cpu_capability();
}

// A text that ends in 0 and stays for good.
extern "C" const char *flow_cpu_capability() noexcept {
  static const std::string name = at::get_cpu_capability();
  return name.c_str();
}
