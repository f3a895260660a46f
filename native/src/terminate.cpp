// What libstdc++ does where an exception leaves a noexcept function: it names the exception, with
// a demangler of 50 KB. The library lets none out (status.h), so it links nothing that does.
#include <cstdlib>
#include <exception>  // __GLIBCXX__ is known from here on

#ifdef __GLIBCXX__
namespace __gnu_cxx {

void __verbose_terminate_handler() { std::abort(); }

}  // namespace __gnu_cxx
#endif
