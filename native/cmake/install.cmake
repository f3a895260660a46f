# cmake --install: the library, its headers, what CMake and pkg-config need, and the samples.
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/mahtrt)
set(links NAMELINK_COMPONENT development)
if(MAHTRT_WHEEL)
  set(links NAMELINK_SKIP)
endif()

install(TARGETS mahtrt EXPORT mahtrtTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT runtime ${links})
install(FILES include/mahtrt.h include/mahtrt.hpp
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development)
install(DIRECTORY samples/ DESTINATION ${CMAKE_INSTALL_DATADIR}/mahtrt/samples
  COMPONENT development PATTERN target EXCLUDE PATTERN __pycache__ EXCLUDE)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/mahtrt COMPONENT runtime)

install(EXPORT mahtrtTargets NAMESPACE mahtrt:: DESTINATION ${package_dir} COMPONENT development)
configure_package_config_file(cmake/mahtrtConfig.cmake.in ${PROJECT_BINARY_DIR}/mahtrtConfig.cmake
  INSTALL_DESTINATION ${package_dir} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/mahtrtConfigVersion.cmake
  COMPATIBILITY SameMajorVersion)
install(FILES ${PROJECT_BINARY_DIR}/mahtrtConfig.cmake ${PROJECT_BINARY_DIR}/mahtrtConfigVersion.cmake
  DESTINATION ${package_dir} COMPONENT development)

# The prefix is told from where the file itself lies, so that the tree can be moved.
file(RELATIVE_PATH prefix_of_pkgconfig /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
string(REGEX REPLACE "/$" "" prefix_of_pkgconfig ${prefix_of_pkgconfig})
configure_file(cmake/mahtrt.pc.in ${PROJECT_BINARY_DIR}/mahtrt.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/mahtrt.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)
