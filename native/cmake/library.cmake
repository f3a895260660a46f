# libmahtrt.so.1: one file that needs libc and libm and exports what mahtrt.h declares.

# The number behind ".so." is the interface's: mahtrt.h is the only place that says it.
file(STRINGS ${PROJECT_SOURCE_DIR}/include/mahtrt.h abi_line REGEX "^#define MAHTRT_ABI ")
string(REGEX MATCH "[0-9]+" MAHTRT_ABI "${abi_line}")
if(NOT MAHTRT_ABI)
  message(FATAL_ERROR "include/mahtrt.h: no line '#define MAHTRT_ABI' with a number")
endif()

add_library(mahtrt SHARED $<TARGET_OBJECTS:mahtrt_objects>)
# INSTALL_RPATH is for what the library opens itself: a runtime that lies in the same folder.
set_target_properties(mahtrt PROPERTIES
  SOVERSION ${MAHTRT_ABI}
  LINKER_LANGUAGE CXX
  BUILD_RPATH_USE_ORIGIN ON
  INSTALL_RPATH "$ORIGIN"
  LINK_DEPENDS ${PROJECT_SOURCE_DIR}/src/libmahtrt.map)
target_include_directories(mahtrt INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_link_libraries(mahtrt PRIVATE ${CMAKE_DL_LIBS})
add_library(mahtrt::mahtrt ALIAS mahtrt)

find_package(Threads REQUIRED)
target_link_libraries(mahtrt PRIVATE Threads::Threads)
if(MAHTRT_SANITIZE OR MAHTRT_FUZZ)
  target_link_libraries(mahtrt PRIVATE mahtrt_settings)
else()
  target_link_options(mahtrt PRIVATE
    -static-libstdc++ -static-libgcc
    LINKER:--version-script=${PROJECT_SOURCE_DIR}/src/libmahtrt.map
    LINKER:--gc-sections LINKER:-z,defs LINKER:-z,relro LINKER:-z,now
    # Runtimes keep threads that come back into this library: it stays until the process ends.
    LINKER:-z,nodelete)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_link_options(mahtrt PRIVATE $<$<CONFIG:Release>:-flto=auto;-Os>)
  endif()
endif()

# What a user downloads: `cmake --build … --target mahtrt-size` prints it.
add_custom_target(mahtrt-size
  COMMAND ${CMAKE_COMMAND} -DSTRIP=${CMAKE_STRIP} -DLIBRARY=$<TARGET_FILE:mahtrt>
    -P ${PROJECT_SOURCE_DIR}/cmake/print-size.cmake
  DEPENDS mahtrt VERBATIM)
