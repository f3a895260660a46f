# cpack -G TGZ: one folder that runs bundles on a host without Python. With MAHTRT_OPENVINO_DIR it
# holds OpenVINO too, beside the library, which looks there for it.
set(CPACK_GENERATOR TGZ)
set(CPACK_PACKAGE_NAME libmahtrt)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_SYSTEM_NAME "linux-${CMAKE_SYSTEM_PROCESSOR}")
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_ARCHIVE_COMPONENT_INSTALL OFF)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_CMAKE_PROJECTS "${PROJECT_BINARY_DIR};mahtrt;ALL;/")

if(MAHTRT_OPENVINO_DIR)
  # The least set that reads and runs an IR or a blob on a CPU. Names end in a version or not.
  foreach(name openvino openvino_c openvino_intel_cpu_plugin openvino_ir_frontend tbb)
    file(GLOB found ${MAHTRT_OPENVINO_DIR}/lib${name}.so ${MAHTRT_OPENVINO_DIR}/lib${name}.so.*)
    list(LENGTH found count)
    if(NOT count EQUAL 1)
      message(FATAL_ERROR "MAHTRT_OPENVINO_DIR: expected one lib${name}.so* in "
        "${MAHTRT_OPENVINO_DIR}, got ${count}. It is the folder openvino/libs of the wheel.")
    endif()
    install(FILES ${found} DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT openvino)
  endforeach()
  file(GLOB licences
    ${MAHTRT_OPENVINO_DIR}/../../openvino-[0-9]*.dist-info/licenses/LICENSE
    ${MAHTRT_OPENVINO_DIR}/../../openvino-[0-9]*.dist-info/licenses/licensing/*)
  install(FILES ${licences} cmake/openvino-licences.txt
    DESTINATION ${CMAKE_INSTALL_DATADIR}/mahtrt/licences/openvino COMPONENT openvino)
endif()
if(MAHTRT_SAMPLES)
  set_target_properties(landmarks PROPERTIES INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
  install(TARGETS landmarks DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT runtime)
endif()
include(CPack)
