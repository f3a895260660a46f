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
    target_link_options(${target} PRIVATE -static-libstdc++ -static-libgcc
      LINKER:--version-script=${PROJECT_SOURCE_DIR}/modules/module.map
      LINKER:--gc-sections LINKER:-z,defs LINKER:-z,relro LINKER:-z,now)
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

# What keeps headers from being used, "" where nothing does.
function(mahtrt_tensorrt_problem folder cuda major minor result)
  set(problem "")
  if(NOT EXISTS ${folder}/NvInferRuntime.h OR NOT EXISTS ${folder}/NvInferVersion.h)
    set(problem "got no NvInferRuntime.h with NvInferVersion.h")
  elseif(major STREQUAL "" OR minor STREQUAL "")
    set(problem "got a NvInferVersion.h without NV_TENSORRT_MAJOR and NV_TENSORRT_MINOR")
  elseif(name STREQUAL "tensorrt${major}" AND "${major}.${minor}" VERSION_LESS 10.12)
    set(problem "got TensorRT ${major}.${minor}, expected 10.12 or newer")
  elseif(NOT cuda)
    set(problem "they include cuda_runtime_api.h: set MAHTRT_CUDA_INCLUDE to its folder")
  endif()
  set(${result} "${problem}" PARENT_SCOPE)
endfunction()

# The module for the TensorRT whose headers lie in a folder; its name says for which versions. The
# names are those of module_name() in src/backends/tensorrt_library.cpp. mode: of the message where
# there cannot be one, STATUS or FATAL_ERROR.
function(mahtrt_tensorrt_module_of folder cuda mode)
  set(text "")
  if(EXISTS ${folder}/NvInferVersion.h)
    file(READ ${folder}/NvInferVersion.h text)
  endif()
  mahtrt_header_number("${text}" NV_TENSORRT_MAJOR major)
  mahtrt_header_number("${text}" NV_TENSORRT_MINOR minor)
  set(name tensorrt${major})
  if(text MATCHES "#define +TRT_MAJOR_RTX")
    set(name tensorrt_rtx${major}.${minor})
  endif()
  mahtrt_tensorrt_problem(${folder} "${cuda}" "${major}" "${minor}" problem)
  if(problem)
    message(${mode} "TensorRT's headers in ${folder}: ${problem}")
    return()
  endif()
  message(STATUS "Module for TensorRT: libmahtrt_${name}.so, by headers of ${major}.${minor}")
  mahtrt_tensorrt_module(mahtrt_${name} libmahtrt_${name}.so ${folder} ${cuda})
  # Beside libmahtrt, where it is looked for first.
  set_target_properties(mahtrt_${name} PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
  install(TARGETS mahtrt_${name} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT runtime)
endfunction()
