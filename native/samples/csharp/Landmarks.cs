// Landmarks of a PNG, as JSON.
//
//     mcs -out:Landmarks.exe Landmarks.cs Mahtrt.cs
//     LD_LIBRARY_PATH=/folder/of/libmahtrt mono Landmarks.exe BUNDLE IMAGE...
using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;
using Mahtrt;

public static class Program
{
    // JSON has no NaN, which stands for what is not known. Nine digits give the same float back.
    static string Number(float value)
    {
        return float.IsNaN(value) ? "null" : value.ToString("G9", CultureInfo.InvariantCulture);
    }

    static string Quoted(string text)
    {
        return '"' + text.Replace("\\", "\\\\").Replace("\"", "\\\"") + '"';
    }

    static string Json(Session session, Landmark[] found)
    {
        var lines = found.Select((one, i) => string.Format(
            "\n  {{\"name\": {0}, \"x_px\": {1}, \"y_px\": {2}, \"confidence\": {3}, \"spread_px\": {4}}}",
            Quoted(session.Name(i)), Number(one.x_px), Number(one.y_px), Number(one.confidence),
            Number(one.spread_px)));
        return "{\"engine\": " + Quoted(session.Engine) + ", \"landmarks\": ["
            + string.Join(",", lines) + "]}";
    }

    static Status Run(string bundle, IEnumerable<string> paths)
    {
        using (var session = new Session(bundle))
        {
            var pictures = paths.Select(path => new Picture(File.ReadAllBytes(path))).ToList();
            try
            {
                var images = pictures.Select(each => each.Image).ToArray();
                Console.WriteLine(Json(session, session.Run(images)));
            }
            finally
            {
                pictures.ForEach(each => each.Dispose());
            }
        }
        return Status.Ok;
    }

    public static int Main(string[] arguments)
    {
        try
        {
            if (arguments.Length < 2)
                throw new StatusException(Status.Usage, "usage: Landmarks.exe BUNDLE IMAGE...");
            return (int)Run(arguments[0], arguments.Skip(1));
        }
        catch (StatusException error)
        {
            Console.Error.WriteLine(error.Message);
            return (int)error.Status;
        }
        catch (IOException error)
        {
            Console.Error.WriteLine(error.Message);
            return (int)Status.Failed;
        }
    }
}
