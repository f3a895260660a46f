# mahtrt_tensorrt_module(TARGET NAME INCLUDES...): a module file NAME from headers in INCLUDES.
function(mahtrt_tensorrt_module target name)
  add_library(${target} MODULE ${PROJECT_SOURCE_DIR}/modules/tensorrt_module.cpp)
  set_target_properties(${target} PROPERTIES
    PREFIX "" OUTPUT_NAME ${name} SUFFIX ""
    CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/src)
  target_include_directories(${target} SYSTEM PRIVATE ${ARGN})
  target_link_libraries(${target} PRIVATE mahtrt_settings)
  if(NOT MAHTRT_SANITIZE)
    target_link_options(${target} PRIVATE -static-libstdc++ -static-libgcc -Wl,--no-undefined)
  endif()
endfunction()

# The number that a header gives a macro, or what that macro stands for; "" without it.
function(mahtrt_header_number text macro result)
  set(${result} "" PARENT_SCOPE)
  if("${text}" MATCHES "#define +${macro} +([A-Z_]+|[0-9]+)")
    set(value ${CMAKE_MATCH_1})
    if(NOT value MATCHES "^[0-9]+$")
      mahtrt_header_number("${text}" ${value} value)
    endif()
    set(${result} ${value} PARENT_SCOPE)
  endif()
endfunction()

# The module for the TensorRT whose headers lie in a folder; its name says for which versions. The
# names are those of module_name() in src/backends/tensorrt_library.cpp.
function(mahtrt_tensorrt_module_of folder cuda)
  if(NOT EXISTS ${folder}/NvInferRuntime.h OR NOT EXISTS ${folder}/NvInferVersion.h)
    message(FATAL_ERROR "${folder} has no NvInferRuntime.h and NvInferVersion.h")
  endif()
  if(NOT cuda)
    message(FATAL_ERROR "TensorRT's headers in ${folder} need cuda_runtime_api.h: "
      "set MAHTRT_CUDA_INCLUDE to its folder")
  endif()
  file(READ ${folder}/NvInferVersion.h text)
  mahtrt_header_number("${text}" NV_TENSORRT_MAJOR major)
  mahtrt_header_number("${text}" NV_TENSORRT_MINOR minor)
  if(major STREQUAL "" OR minor STREQUAL "")
    message(FATAL_ERROR "${folder}/NvInferVersion.h tells no version")
  endif()
  set(name tensorrt${major})
  if(text MATCHES "#define +TRT_MAJOR_RTX")
    set(name tensorrt_rtx${major}.${minor})
  elseif(major LESS 10)
    message(FATAL_ERROR "${folder} is TensorRT ${major}.${minor}; 10.12 or newer is needed")
  endif()
  message(STATUS "Module for TensorRT: libmahtrt_${name}.so, headers ${major}.${minor}")
  mahtrt_tensorrt_module(mahtrt_${name} libmahtrt_${name}.so ${folder} ${cuda})
  # Beside libmahtrt, where it is looked for first.
  set_target_properties(mahtrt_${name} PROPERTIES
    LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
  install(TARGETS mahtrt_${name} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endfunction()
