// libmahtrt for C#: the functions of mahtrt.h through P/Invoke, and a session over them.
// Only what the sample uses is declared; structs are those of mahtrt.h, field by field.
using System;
using System.Runtime.InteropServices;
using System.Text;

namespace Mahtrt
{
    public enum Status
    {
        Ok, Failed, Usage, OverBudget, Integrity = 5, Missing, BadImage, OutOfMemory
    }

    public enum Format { Gray8, Gray16, Rgb8, Rgb16, Bgr8, Bgr16, Rgbx8, Bgrx8 }

    [StructLayout(LayoutKind.Sequential)]
    public struct Options
    {
        public UIntPtr size;
        public IntPtr engine, runtime_dir;
        public int require, threads, device, skip_digests;
        public IntPtr stream;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct Image
    {
        public UIntPtr size;
        public IntPtr data;
        public UIntPtr row_bytes;
        public int width, height, format;
        public double spacing_row_mm, spacing_column_mm;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct Landmark
    {
        public float x_px, y_px, confidence, spread_px, spread_x_px, spread_y_px;
        public float x_mm, y_mm, visibility;
        public int visible, two_peaks;
    }

    public static class Native
    {
        const string Library = "libmahtrt.so.1";
        const CallingConvention C = CallingConvention.Cdecl;

        [DllImport(Library, CallingConvention = C)]
        public static extern IntPtr mahtrt_last_error();
        [DllImport(Library, CallingConvention = C)]
        public static extern void mahtrt_options_init(out Options options, UIntPtr size);
        [DllImport(Library, CallingConvention = C)]
        public static extern Status mahtrt_open(byte[] bundle, IntPtr options, out IntPtr session);
        [DllImport(Library, CallingConvention = C)]
        public static extern Status mahtrt_close(IntPtr session);
        [DllImport(Library, CallingConvention = C)]
        public static extern IntPtr mahtrt_engine_name(IntPtr session);
        [DllImport(Library, CallingConvention = C)]
        public static extern UIntPtr mahtrt_input_count(IntPtr session);
        [DllImport(Library, CallingConvention = C)]
        public static extern UIntPtr mahtrt_landmark_count(IntPtr session);
        [DllImport(Library, CallingConvention = C)]
        public static extern IntPtr mahtrt_landmark_name(IntPtr session, UIntPtr landmark);
        [DllImport(Library, CallingConvention = C)]
        public static extern void mahtrt_image_init(out Image image, UIntPtr size);
        [DllImport(Library, CallingConvention = C)]
        public static extern Status mahtrt_png_read(
            byte[] png, UIntPtr bytes, byte[] pixels, UIntPtr pixel_bytes, ref Image image);
        [DllImport(Library, CallingConvention = C)]
        public static extern Status mahtrt_run_batch(
            IntPtr session, [In] Image[] images, UIntPtr image_count, [Out] Landmark[] landmarks,
            UIntPtr landmark_size, UIntPtr capacity, IntPtr outputs, UIntPtr output_count);

        public static UIntPtr SizeOf<T>() { return (UIntPtr)Marshal.SizeOf(typeof(T)); }

        public static byte[] Utf8(string text) { return Encoding.UTF8.GetBytes(text + "\0"); }

        public static string Text(IntPtr utf8)
        {
            if (utf8 == IntPtr.Zero) return "";
            int length = 0;
            while (Marshal.ReadByte(utf8, length) != 0) ++length;
            var bytes = new byte[length];
            Marshal.Copy(utf8, bytes, 0, length);
            return Encoding.UTF8.GetString(bytes);
        }

        public static void Check(Status status)
        {
            if (status != Status.Ok) throw new StatusException(status, Text(mahtrt_last_error()));
        }
    }

    public class StatusException : Exception
    {
        public readonly Status Status;

        public StatusException(Status status, string text) : base(text) { Status = status; }
    }

    /// The pixels of a PNG, which the garbage collector leaves where they are.
    public sealed class Picture : IDisposable
    {
        public readonly Image Image;
        readonly GCHandle pixels;

        public Picture(byte[] png)
        {
            Native.mahtrt_image_init(out Image, Native.SizeOf<Image>());
            var length = (UIntPtr)png.Length;
            Native.Check(Native.mahtrt_png_read(png, length, null, UIntPtr.Zero, ref Image));
            var room = new byte[checked((int)Image.row_bytes * Image.height)];
            pixels = GCHandle.Alloc(room, GCHandleType.Pinned);
            var size = (UIntPtr)room.Length;
            Native.Check(Native.mahtrt_png_read(png, length, room, size, ref Image));
            Image.data = pixels.AddrOfPinnedObject();
        }

        public void Dispose() { if (pixels.IsAllocated) pixels.Free(); }
    }

    /// An engine that is open. Safe from several threads.
    public sealed class Session : IDisposable
    {
        IntPtr handle;

        public Session(string bundle)
        {
            Native.Check(Native.mahtrt_open(Native.Utf8(bundle), IntPtr.Zero, out handle));
        }

        public string Engine { get { return Native.Text(Native.mahtrt_engine_name(handle)); } }
        public int Inputs { get { return (int)Native.mahtrt_input_count(handle); } }
        public int Landmarks { get { return (int)Native.mahtrt_landmark_count(handle); } }

        public string Name(int landmark)
        {
            return Native.Text(Native.mahtrt_landmark_name(handle, (UIntPtr)landmark));
        }

        /// One image for each input of the network.
        public Landmark[] Run(params Image[] images)
        {
            if (images.Length != Inputs)
                throw new StatusException(
                    Status.Usage, "images: give one for each input of the network");
            var found = new Landmark[Landmarks];
            Native.Check(Native.mahtrt_run_batch(
                handle, images, (UIntPtr)images.Length, found, Native.SizeOf<Landmark>(),
                (UIntPtr)found.Length, IntPtr.Zero, UIntPtr.Zero));
            return found;
        }

        public void Dispose()
        {
            Native.mahtrt_close(handle);
            handle = IntPtr.Zero;
        }
    }
}
