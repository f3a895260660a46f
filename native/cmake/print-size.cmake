# Prints the size of LIBRARY without its symbols, and fails from 400 KB on.
set(MOST 400000)
set(stripped ${LIBRARY}.stripped)
execute_process(COMMAND ${STRIP} --strip-unneeded -o ${stripped} ${LIBRARY}
  RESULT_VARIABLE failed)
if(failed)
  message(FATAL_ERROR "${STRIP} cannot strip ${LIBRARY}")
endif()
file(SIZE ${stripped} bytes)
file(REMOVE ${stripped})
message(STATUS "${LIBRARY}: ${bytes} bytes without symbols")
if(bytes GREATER_EQUAL MOST)
  message(FATAL_ERROR "That is ${MOST} bytes or more.")
endif()
