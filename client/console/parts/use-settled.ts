import { useEffect, useState } from 'react'

/** `value` once it has stayed the same for `ms`: a slider that moves asks one question, and not one for each step. */
export function useSettled<Value>(value: Value, ms: number): Value {
  const [settled, setSettled] = useState(value)
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), ms)
    return () => clearTimeout(timer)
  }, [value, ms])
  return settled
}
