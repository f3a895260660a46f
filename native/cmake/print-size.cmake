# Prints the size of LIBRARY without its symbols.
set(stripped ${LIBRARY}.stripped)
execute_process(COMMAND ${STRIP} --strip-unneeded -o ${stripped} ${LIBRARY}
  RESULT_VARIABLE failed)
if(failed)
  message(FATAL_ERROR "${STRIP} cannot strip ${LIBRARY}")
endif()
file(SIZE ${stripped} bytes)
file(REMOVE ${stripped})
message(STATUS "${LIBRARY}: ${bytes} bytes without symbols")
